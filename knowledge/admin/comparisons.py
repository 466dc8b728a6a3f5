"""Two revisions of a document beside each other, as pages show them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from knowledge.curation.differences import Change, Difference, Text, differences
from knowledge.models import Chunk, DocumentRevision

MOST_SHOWN = 300
"""Differences on a page; what is beyond is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A difference, or as many chunks in a row as stayed what they are."""

    difference: Difference | None = None
    same: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    parts: Sequence[Part]
    added: int
    removed: int
    changed: int
    left_out: int


def compared(old: DocumentRevision | None, new: DocumentRevision) -> Compared:
    """Compare two revisions of one document; without an old one everything is new."""
    found = list(differences(texts_of(old) if old else (), texts_of(new)))
    number = {change: sum(one.change is change for one in found) for change in Change}
    parts = list(_parts(found))
    return Compared(
        parts=parts[:MOST_SHOWN],
        added=number[Change.ADDED],
        removed=number[Change.REMOVED],
        changed=number[Change.CHANGED],
        left_out=max(0, len(parts) - MOST_SHOWN),
    )


def texts_of(revision: DocumentRevision) -> list[Text]:
    """Return a revision's chunks in order, those that are still kept."""
    there = Chunk.objects.filter(document=revision.document_id).in_bulk(revision.chunk_ids)
    rows = (there[pk] for pk in revision.chunk_ids if pk in there)
    return [Text(text=row.text, heading=row.heading, enabled=row.enabled) for row in rows]


def _parts(found: Sequence[Difference]) -> Iterator[Part]:
    for is_same, some in groupby(found, key=lambda one: one.change is Change.SAME):
        if is_same:
            yield Part(same=len(list(some)))
        else:
            yield from (Part(difference=one) for one in some)
