"""Ranked chunks into passages, with what stands around them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from django.db.models import Q

from knowledge.models import Chunk
from knowledge.passages import Passage
from knowledge.ranking import Ranking


def passages_of(ranking: Ranking, *, limit: int, neighbours: int) -> tuple[Passage, ...]:
    """Return the first ``limit`` chunks of ``ranking`` as passages, each with ``neighbours`` chunks on both sides."""
    wanted = list(ranking.scores)[:limit]
    # Read again as they are now: what was disabled or replaced since it was ranked is not shown.
    rows = Chunk.objects.findable().filter(pk__in=wanted).select_related("document", "collection")
    found = {row.pk: row for row in rows}
    chosen = [found[chunk] for chunk in wanted if chunk in found]
    around = _around(chosen, neighbours) if neighbours else {}
    return tuple(_passage(row, ranking, neighbours, around) for row in chosen)


def _passage(row: Chunk, ranking: Ranking, neighbours: int, around: Mapping[int, Mapping[int, str]]) -> Passage:
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
        similarity=ranking.cosines.get(row.pk),
        text_score=ranking.wording.leg.scores.get(row.pk),
        vector_rank=ranking.vector.ranks.get(row.pk),
        text_rank=ranking.wording.leg.ranks.get(row.pk),
        before="\n\n".join(before),
        after="\n\n".join(after),
        metadata=document.metadata,
        trusted=row.collection.trusted,
    )


def _around(rows: Sequence[Chunk], neighbours: int) -> Mapping[int, Mapping[int, str]]:
    """Return the texts beside ``rows`` by document and place."""
    wanted = Q(pk__in=())
    for row in rows:
        wanted |= Q(
            document=row.document_id, ordinal__range=(max(0, row.ordinal - neighbours), row.ordinal + neighbours)
        )
    texts: dict[int, dict[int, str]] = defaultdict(dict)
    for document, place, text in Chunk.objects.findable().filter(wanted).values_list("document", "ordinal", "text"):
        texts[document][place] = text
    return texts
