"""A search of a vector store as a client asks for it, and as it is answered; pure but for the names of files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gateway.fields import Fields, invalid, json_object
from gateway.ragapi.metadata import is_storable
from gateway.ragapi.searching import parse_filters
from gateway.vectorstores.standing import public_id_of
from knowledge.attributes import attributes_of
from knowledge.models import Document
from knowledge.passages import Passage, Retrieval, SearchRequest

USUAL_RESULTS, MOST_RESULTS = 10, 50
MOST_QUERIES = 8
RANKERS = ("none", "auto", "default-2024-11-15", "default_2024_08_21")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSearch:
    """``threshold`` leaves out results of a lower score; ``ignored`` is what nobody reads or does."""

    request: SearchRequest
    threshold: float
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """A file's id and its name."""

    id: str
    name: str


def parse_store_search(body: bytes, store: str) -> StoreSearch:
    """Return the search of ``store`` that a body asks for; raises BadRequest."""
    fields = Fields(json_object(body))
    first, *others = _queries(fields.raw("query"))
    ranking = Fields(fields.object("ranking_options") or {}, inside="ranking_options")
    ranker = ranking.text("ranker")
    if ranker is not None and ranker not in RANKERS:
        raise invalid("ranking_options.ranker", f"'ranking_options.ranker' must be one of {', '.join(RANKERS)}.")
    results = fields.integer("max_num_results", 1, MOST_RESULTS)
    request = SearchRequest(
        query=first,
        also=tuple(others),
        collections=(store,),
        top_k=USUAL_RESULTS if results is None else results,
        filters=parse_filters(fields.raw("filters")),
        rerank=False if ranker == "none" else None,
    )
    threshold = ranking.number("score_threshold", 0, 1) or 0.0
    rewritten = ("rewrite_query",) if fields.flag("rewrite_query") else ()
    inside = (f"ranking_options.{name}" for name in ranking.unseen())
    return StoreSearch(request=request, threshold=threshold, ignored=(*fields.unseen(), *inside, *rewritten))


def _queries(value: Any) -> list[str]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one.strip() for one in given):
        raise invalid("query", "'query' must be what is to be searched for: a text, or a list of wordings of it.")
    if len(given) > MOST_QUERIES:
        raise invalid("query", f"'query' holds {len(given)} wordings; {MOST_QUERIES} are the most.")
    if not all(map(is_storable, given)):
        raise invalid("query", "'query' has characters that no text can have (NUL, or half of a surrogate pair).")
    return given


def file_names(passages: Sequence[Passage]) -> Mapping[int, FileName]:
    """Return the file that each passage is of, by its document; asks the database."""
    rows = Document.objects.filter(pk__in={one.document for one in passages}).select_related("file")
    return {row.pk: FileName(id=public_id_of(row), name=row.file.name if row.file else row.source) for row in rows}


def results_page(found: Retrieval, asked: StoreSearch, names: Mapping[int, FileName]) -> dict[str, Any]:
    """Return the answer to a search, best first."""
    data = [
        _result(one, score, names[one.document])
        for one, score in zip(found.passages, scores(found.passages), strict=True)
        if score >= asked.threshold and one.document in names
    ]
    return {
        "object": "vector_store.search_results.page",
        "search_query": [asked.request.query, *asked.request.also],
        "data": data,
        "has_more": False,
        "next_page": None,
        "notes": list(found.notes),
    }


def scores(passages: Sequence[Passage]) -> list[float]:
    """Return each passage's strength, or the greatest of those after it: clients take what comes first for the best.

    Strength is comparable between questions, which the fused score that they are ordered by is not.
    """
    return list(accumulate((one.strength for one in reversed(passages)), max))[::-1]


def _result(passage: Passage, score: float, file: FileName) -> dict[str, Any]:
    return {
        "file_id": file.id,
        "filename": file.name,
        "score": score,
        "attributes": attributes_of(passage.metadata),
        "content": [{"type": "text", "text": passage.text}],
    }
