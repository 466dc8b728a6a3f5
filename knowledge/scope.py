"""Where a question is looked for, and how: the collections that may be read, and what they say of searching them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.access import Access
from knowledge.embedding import ModelSpec
from knowledge.exceptions import CollectionNotFound, Expired
from knowledge.models import Collection, EmbeddingModel
from knowledge.passages import Fusion, Mode, SearchRequest

KNOWN_WEIGHT = 0.5
"""The vector leg's share where its model knows the question's language; measured, see docs/knowledge.md."""
UNKNOWN_WEIGHT = 0.3
"""Its share where it does not."""
MOST_LANGUAGES = 4
"""Languages by whose stems a question is looked up where it does not tell its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Collections by id, with their slugs; ``held`` are the chunks of each, ``terms`` of all together.

    ``models`` are the collections that each embedding model has embedded, ``keeping`` the slugs of those by whose
    setting prompts and answers are kept.
    """

    collections: Mapping[int, str]
    models: Mapping[ModelSpec, tuple[int, ...]]
    held: Mapping[int, int]
    terms: int
    languages: frozenset[str]
    keeping: frozenset[str] = frozenset()

    @property
    def chunks(self) -> int:
        return sum(self.held.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to search; of several collections that differ, the more careful wish counts."""

    mode: Mode
    fusion: Fusion
    vector_weight: float
    neighbours: int
    threshold: float
    reranker: str = ""


def scope_of(request: SearchRequest, access: Access, *, language: str) -> tuple[Scope, Manner]:
    """Return where and how to search; ``language`` is the question's. Raises CollectionNotFound and Expired."""
    rows = _permitted(request.collections, access)
    if request.model is not None:
        other = EmbeddingModel.objects.get(pk=request.model)
        for row in rows:
            row.embedding_model = other
    models: dict[ModelSpec, list[int]] = defaultdict(list)
    for row in rows:
        models[ModelSpec.of(row.embedding_model)].append(row.pk)
    scope = Scope(
        collections={row.pk: row.slug for row in rows},
        models={spec: tuple(ids) for spec, ids in models.items()},
        held={row.pk: row.chunk_count for row in rows},
        terms=sum(row.term_count for row in rows),
        languages=frozenset(code for row in rows for code in row.languages),
        keeping=frozenset(row.slug for row in rows if row.keeps_texts),
    )
    return scope, _manner(request, rows, language)


def _permitted(names: Sequence[str], access: Access) -> list[Collection]:
    rows = Collection.objects.open_to(access).select_related("embedding_model", "reranker")
    if not names:
        return [row for row in rows.lasting() if not row.is_expired]
    found = list(rows.named(names))
    if missing := sorted(set(names) - {name for row in found for name in row.names}):
        raise CollectionNotFound(
            f"There is no collection '{missing[0]}'. GET /v1/rag/collections lists those you may read.",
            param="collection",
        )
    if expired := next((row for row in found if row.is_expired), None):
        raise Expired(expired.slug, expired.expires_after_days)
    return found


def _manner(request: SearchRequest, rows: Sequence[Collection], language: str) -> Manner:
    modes = {Mode(row.mode) for row in rows}
    fusions = {Fusion(row.fusion) for row in rows}
    weights = [_weight(row, language) for row in rows]
    rerankers = sorted({row.reranker.slug for row in rows if row.reranker and row.reranker.enabled})
    return Manner(
        mode=request.mode or (modes.pop() if len(modes) == 1 else Mode.HYBRID),
        fusion=request.fusion or (fusions.pop() if len(fusions) == 1 else Fusion.NORMALISED),
        vector_weight=_given(request.vector_weight, sum(weights) / len(weights) if weights else KNOWN_WEIGHT),
        neighbours=int(_given(request.neighbours, max((row.neighbours for row in rows), default=0))),
        threshold=max((row.threshold for row in rows), default=0.0),
        reranker=rerankers[0] if rerankers and request.rerank is not False else "",
    )


def _weight(row: Collection, language: str) -> float:
    if row.vector_weight is not None:
        return row.vector_weight
    spoken = row.language or language
    return KNOWN_WEIGHT if not spoken or row.embedding_model.knows(spoken) else UNKNOWN_WEIGHT


def _given(wish: float | None, otherwise: float) -> float:
    return otherwise if wish is None else wish


def stem_languages(language: str, scope: Scope) -> tuple[str, ...]:
    """Return the languages by whose stems a question in ``language`` is looked up in ``scope``."""
    if language in scope.languages or not scope.languages:
        return (language,)
    return tuple(sorted(scope.languages)[:MOST_LANGUAGES])
