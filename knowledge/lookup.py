"""Ranked chunks into passages, with what stands around them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Q

from knowledge.models import Chunk
from knowledge.passages import Passage
from knowledge.ranking import Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    text: str
    signals: tuple[str, ...]


def passages_of(ranking: Ranking, *, limit: int, neighbours: int) -> tuple[Passage, ...]:
    """Return the first ``limit`` chunks of ``ranking`` as passages, each with ``neighbours`` chunks on both sides."""
    wanted = list(ranking.scores)[:limit]
    # Read again as they are now: what was disabled or replaced since it was ranked is not shown.
    rows = Chunk.objects.findable().filter(pk__in=wanted).select_related("document", "collection")
    found = {row.pk: row for row in rows}
    chosen = [found[chunk] for chunk in wanted if chunk in found]
    around = _around(chosen, neighbours) if neighbours else {}
    return tuple(_passage(row, ranking, neighbours, around) for row in chosen)


def _passage(row: Chunk, ranking: Ranking, neighbours: int, around: Mapping[int, Mapping[int, _Beside]]) -> Passage:
    document = row.document
    beside = around.get(row.document_id, {})
    before = [beside[place] for place in range(row.ordinal - neighbours, row.ordinal) if place in beside]
    after = [beside[place] for place in range(row.ordinal + 1, row.ordinal + 1 + neighbours) if place in beside]
    return Passage(
        chunk=row.pk,
        document=row.document_id,
        revision=document.revision,
        ordinal=row.ordinal,
        collection=row.collection.slug,
        title=document.title or document.source,
        source=document.source,
        text=row.text,
        heading=row.heading,
        page=row.page,
        url=document.url,
        mime=document.mime,
        language=row.language,
        score=round(ranking.scores[row.pk], 6),
        strength=round(ranking.strength(row.pk), 4),
        similarity=ranking.cosines.get(row.pk),
        text_score=ranking.wording.leg.scores.get(row.pk),
        vector_rank=ranking.vector.ranks.get(row.pk),
        text_rank=ranking.wording.leg.ranks.get(row.pk),
        before="\n\n".join(one.text for one in before),
        after="\n\n".join(one.text for one in after),
        metadata=document.metadata,
        trusted=row.collection.trusted,
        keeps_tools=row.collection.keeps_tools,
        signals=tuple(dict.fromkeys((*row.signals, *(name for one in (*before, *after) for name in one.signals)))),
    )


def _around(rows: Sequence[Chunk], neighbours: int) -> Mapping[int, Mapping[int, _Beside]]:
    """Return what stands beside ``rows`` by document and place."""
    wanted = Q(pk__in=())
    for row in rows:
        wanted |= Q(
            document=row.document_id, ordinal__range=(max(0, row.ordinal - neighbours), row.ordinal + neighbours)
        )
    found: dict[int, dict[int, _Beside]] = defaultdict(dict)
    near = Chunk.objects.findable().filter(wanted).values_list("document", "ordinal", "text", "signals")
    for document, place, text, signals in near:
        found[document][place] = _Beside(text=text, signals=tuple(signals))
    return found
