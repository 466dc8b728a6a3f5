"""A search as a client asks for it and as it is answered; pure but for the search itself."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from gateway.fields import Fields, invalid, json_object
from gateway.ragapi.metadata import is_storable
from knowledge.filters import InvalidFilter, parse, to_json
from knowledge.passages import Fusion, Mode, Passage, Retrieval, SearchRequest
from knowledge.search import MOST_PASSAGES
from routing.backends import codec

USUAL_PASSAGES = 5
MOST_COLLECTIONS = 50
MOST_NEIGHBOURS = 5
MOST_PARAMETERS = 200
NUMBERS = frozenset({"top_k", "threshold", "neighbours", "vector_weight"})


def parse_search(body: bytes) -> tuple[SearchRequest, list[str]]:
    """Return the search that a body of JSON asks for, and the names in it that nobody reads; raises BadRequest."""
    return _search(json_object(body))


def parse_query(query: bytes) -> tuple[SearchRequest, list[str]]:
    """Return the search that the query of an address asks for, likewise; ``collection`` may be there several times."""
    try:
        given = parse_qs(query.decode(), keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
    except ValueError as error:
        raise invalid("query", f"The address cannot be read: {error}. Write parameters in UTF-8.") from error
    values: dict[str, Any] = {name: _value(name, texts[-1]) for name, texts in given.items() if texts[-1] != ""}
    named = [text for name in ("collection", "collections") for text in given.get(name, ()) if text]
    values.pop("collection", None)
    return _search(values | ({"collections": named} if named else {}))


def _value(name: str, text: str) -> Any:
    """Return a parameter as JSON would have it; what is no such thing stays a text, and is refused as that."""
    if name == "rerank":
        return {"true": True, "false": False}.get(text.lower(), text)
    if name in NUMBERS:
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            return text
    if name == "filters":
        try:
            return codec.loads(text)
        except ValueError as error:
            raise invalid("filters", f"'filters' is not valid JSON: {error}") from error
    return text


def _search(data: Mapping[str, Any]) -> tuple[SearchRequest, list[str]]:
    fields = Fields(data)
    query = fields.text("query")
    if query is None:
        raise invalid("query", "'query' is missing. Send what is to be searched for.")
    if not is_storable(query):
        raise invalid("query", "'query' has characters that no text can have (NUL, or half of a surrogate pair).")
    mode, fusion = fields.text("mode"), fields.text("fusion")
    request = SearchRequest(
        query=query,
        collections=_collections(fields),
        top_k=_given(fields.integer("top_k", 1, MOST_PASSAGES), USUAL_PASSAGES),
        mode=Mode(_one_of(mode, "mode", tuple(Mode))) if mode else None,
        fusion=Fusion(_one_of(fusion, "fusion", tuple(Fusion))) if fusion else None,
        vector_weight=fields.number("vector_weight", 0, 1),
        filters=parse_filters(fields.raw("filters")),
        threshold=fields.number("threshold", 0, 1),
        neighbours=fields.integer("neighbours", 0, MOST_NEIGHBOURS),
        rerank=fields.flag("rerank"),
    )
    return request, fields.unseen()


def _given(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def _collections(fields: Fields) -> tuple[str, ...]:
    one, several = fields.text("collection"), fields.raw("collections")
    named = [several] if isinstance(several, str) else several or []
    named = [one, *named] if one and isinstance(named, list) else named
    if not isinstance(named, list) or not all(isinstance(slug, str) and slug and is_storable(slug) for slug in named):
        raise invalid("collections", "'collections' must be a list of collections' names, such as [\"handbook\"].")
    names = tuple(dict.fromkeys(named))
    if len(names) > MOST_COLLECTIONS:
        raise invalid("collections", f"'collections' names {len(names)}; {MOST_COLLECTIONS} are the most.")
    return names


def _one_of(value: str, where: str, words: tuple[str, ...]) -> str:
    if value not in words:
        raise invalid(where, f"'{where}' must be one of {', '.join(words)}.")
    return value


def parse_filters(value: Any) -> dict[str, Any] | None:
    """Return the tree of comparisons that a body asks for, checked; raises BadRequest."""
    if value is None:
        return None
    try:
        return to_json(parse(value, place="'filters'"))
    except InvalidFilter as error:
        raise invalid("filters", str(error)) from error


def search_object(found: Retrieval) -> dict[str, Any]:
    """Return the answer to a search."""
    return {
        "query": found.query,
        "results": [result_object(passage) for passage in found.passages],
        "collections": list(found.collections),
        "strength": found.strength,
        "weak": found.weak,
        "notes": list(found.notes),
        "steps": [
            {"step": step.name, "milliseconds": round(step.milliseconds, 3), "result": step.result}
            for step in found.steps
        ],
    }


def result_object(passage: Passage) -> dict[str, Any]:
    """Return a passage; ``similarity_score`` is the cosine, or the score where meaning was not looked at."""
    return {
        "content": passage.text,
        "metadata": dict(passage.metadata),
        "collection": passage.collection,
        "similarity_score": passage.score if passage.similarity is None else round(passage.similarity, 6),
        "score": passage.score,
        "chunk": passage.chunk,
        "document": passage.document,
        "revision": passage.revision,
        "title": passage.title,
        "source": passage.source,
        "heading": passage.heading or None,
        "page": passage.page,
        "url": passage.url or None,
        "language": passage.language or None,
        "text_score": passage.text_score,
        "vector_rank": passage.vector_rank,
        "text_rank": passage.text_rank,
        "rerank_score": passage.rerank_score,
        "before": passage.before or None,
        "after": passage.after or None,
    }
