"""How often documents are retrieved for answers and cited by them, counted as the traces of answers are written."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from knowledge.models import RetrievalTrace


@dataclass(slots=True)
class Use:
    """Of some traces: how many retrieved a document and cited it, and when the last of each was."""

    retrieved: int = 0
    retrieved_at: dt.datetime | None = None
    cited: int = 0
    cited_at: dt.datetime | None = None


def uses_of(traces: Iterable[RetrievalTrace]) -> dict[int, Use]:
    """Return what documents were used for, by their ids; several passages of one answer count once."""
    uses: dict[int, Use] = defaultdict(Use)
    for trace in traces:
        retrieved, cited = _documents(trace.trace)
        for document in retrieved:
            use = uses[document]
            use.retrieved += 1
            use.retrieved_at = max(filter(None, (use.retrieved_at, trace.created_at)))
        for document in cited:
            use = uses[document]
            use.cited += 1
            use.cited_at = max(filter(None, (use.cited_at, trace.created_at)))
    return dict(uses)


def uses_note(traces: Iterable[RetrievalTrace]) -> None:
    """Add what ``traces`` used to what was counted before; documents that are gone are left out."""
    uses = uses_of(traces)
    if not uses:
        return
    # In one order, so that two processes that write do not wait for each other.
    rows = sorted(uses.items())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO knowledge_documentuse AS known (document_id, retrieved, retrieved_at, cited, cited_at)
            SELECT used.* FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::bigint[], %s::timestamptz[])
                AS used (document_id, retrieved, retrieved_at, cited, cited_at)
            JOIN knowledge_document AS document ON document.id = used.document_id
            ORDER BY used.document_id
            ON CONFLICT (document_id) DO UPDATE SET
                retrieved = known.retrieved + excluded.retrieved,
                retrieved_at = greatest(known.retrieved_at, excluded.retrieved_at),
                cited = known.cited + excluded.cited,
                cited_at = greatest(known.cited_at, excluded.cited_at)
            """,
            [
                [document for document, _ in rows],
                [use.retrieved for _, use in rows],
                [use.retrieved_at for _, use in rows],
                [use.cited for _, use in rows],
                [use.cited_at for _, use in rows],
            ],
        )


def _documents(trace: Any) -> tuple[set[int], set[int]]:
    """Return which documents an answer's passages are of, and which of them it cites.

    The names are those of Grounded.trace of the gateway.
    """
    if not isinstance(trace, Mapping):
        return set(), set()
    of_chunk = {one.get("chunk"): one.get("document") for one in trace.get("passages") or ()}
    cited = set(trace.get("cited") or ())
    chunks = [chunk for one in trace.get("packed") or () if one.get("n") in cited for chunk in one.get("chunks") or ()]
    return (
        {document for document in of_chunk.values() if isinstance(document, int)},
        {document for chunk in chunks if isinstance(document := of_chunk.get(chunk), int)},
    )
