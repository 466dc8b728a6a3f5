"""A revision that is put together from chunks rather than read: an edit of the live one, an approved one, an old one.

Its row names its chunks from the beginning. Some are live already; the others are staged, as those of a revision that
is read, and get their vectors the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from knowledge.blocks import Parsed
from knowledge.chunking import Count, Cut, Piece, fitting_title
from knowledge.jobs import Gone
from knowledge.models import Chunk, ChunkState, DocumentRevision
from knowledge.readings import Reading
from knowledge.staging import Placed, Staged, vectors_copy, without_vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """``parsed`` has what the revision's content says of itself, and no blocks."""

    parsed: Parsed
    title: str
    language: str
    staged: Staged


def composition_of(reading: Reading, *, count: Count) -> Composition:
    """Return the revision that ``reading`` names, inside a step. Raises Gone if one of its chunks is not there."""
    revision = reading.revision
    rows = _rows(revision)
    title = reading.title or revision.title
    vectors_copy([row.pk for row in rows if row.state == ChunkState.STAGED], reading.spec.id)
    missing = without_vector([row.pk for row in rows], reading.spec.id)
    headed = is_headed(revision.recipe)
    found = next((row.language for row in rows if row.state == ChunkState.STAGED), rows[0].language)
    language = reading.language or found
    cut = Cut(tokens=reading.cut.tokens, header=headed)
    placed = []
    for ordinal, row in enumerate(rows):
        piece = Piece(
            ordinal=ordinal,
            text=row.text,
            # How long the title may be counts only for what is embedded.
            title=fitting_title(title, row.heading, cut, count) if row.pk in missing else title,
            heading=row.heading,
            page=row.page,
            tokens=row.tokens,
            edit=row.edit_id,
            enabled=row.enabled,
        )
        kept = row.state == ChunkState.LIVE
        reworded = kept and (title != revision.document.title or language != row.language)
        placed.append(Placed(piece=_counted(piece, row, count, headed), chunk_id=row.pk, kept=kept, reworded=reworded))
    return Composition(
        parsed=Parsed(
            title=revision.title,
            blocks=(),
            mime=revision.mime or revision.document.mime,
            metadata=revision.metadata,
            warnings=tuple(revision.warnings),
        ),
        title=title,
        language=language,
        staged=Staged(placed=tuple(placed), missing=missing, headed=headed),
    )


def is_headed(recipe: str) -> bool:
    """Tell whether a recipe has titles and headings embedded with the chunks."""
    return not recipe.endswith(":0")


def _rows(revision: DocumentRevision) -> Sequence[Chunk]:
    there = Chunk.objects.filter(document=revision.document_id).in_bulk(revision.chunk_ids)
    rows = [there[pk] for pk in revision.chunk_ids if pk in there]
    if len(rows) < len(revision.chunk_ids) or any(row.state == ChunkState.RETIRED for row in rows):
        raise Gone("the revision was put together from chunks that are not there any more")
    return rows


def _counted(piece: Piece, row: Chunk, count: Count, headed: bool) -> Piece:
    """Count the tokens of a text that somebody wrote, which its row does not know yet."""
    if piece.tokens:
        return piece
    tokens = count(piece.embedded(with_header=headed))
    Chunk.objects.filter(pk=row.pk).update(tokens=tokens)
    return replace(piece, tokens=tokens)
