"""How answers were grounded, kept to be looked up: written in batches, off the path of the answers."""

from collections.abc import Sequence

from knowledge.models import RetrievalTrace
from knowledge.uses import uses_note
from routing.batches import Batches, storable
from routing.sweeping import rows_sweep
from routing.writing import keep_writing

CAPACITY = 2_000
"""Traces that wait while the database is away; later ones are dropped."""
BATCH = 200


class Traces(Batches[RetrievalTrace]):
    """Traces that wait to be written, with what they tell of the use of passages."""

    def __init__(self) -> None:
        super().__init__("retrieval traces", capacity=CAPACITY, batch=BATCH)

    def _insert(self, records: Sequence[RetrievalTrace]) -> None:
        uses_note(RetrievalTrace.objects.bulk_create([storable(trace) for trace in records]))

    def _is_written(self, record: RetrievalTrace) -> bool:
        return RetrievalTrace.objects.filter(decision=record.decision, created_at=record.created_at).exists()


traces = Traces()


def traces_flush() -> int:
    """Write what was noted and return how many; raises django.db.Error."""
    return traces.flush()


def traces_sweep() -> int:
    """Delete some of the traces that are older than decisions are kept, and return how many."""
    return rows_sweep(RetrievalTrace)


async def write_traces() -> None:
    """Write what waits each second, for ever, and hourly delete what is too old; survives outages."""
    await keep_writing("retrieval traces", waiting=lambda: len(traces), flush=traces_flush, sweep=traces_sweep)
