"""How answers were grounded, kept to be looked up: written in batches, off the path of the answers."""

import logging
import threading
from collections import deque
from itertools import islice

from django.db import DataError, transaction

from knowledge.models import RetrievalTrace
from knowledge.uses import uses_note
from routing.journal import keep_writing, rows_sweep, storable

logger = logging.getLogger("knowledge")

CAPACITY = 2_000
"""Traces that wait while the database is away; later ones are dropped."""
BATCH = 200


class Traces:
    """Traces that wait to be written; what does not fit or is refused is counted in ``dropped``."""

    def __init__(self) -> None:
        self._waiting: deque[RetrievalTrace] = deque()
        self._writing = threading.Lock()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, trace: RetrievalTrace) -> None:
        """Keep an unsaved trace until it is written."""
        if len(self._waiting) < CAPACITY:
            self._waiting.append(trace)
        else:
            self.dropped += 1
            if self.dropped % CAPACITY == 1:
                logger.warning("retrieval traces are not kept, as %d wait already dropped=%d", CAPACITY, self.dropped)

    def flush(self) -> int:
        """Write everything and return how many; raises django.db.Error, and keeps what was not written."""
        written = 0
        with self._writing:
            while batch := list(islice(self._waiting, BATCH)):
                written += self._write(batch)
                for _ in batch:
                    self._waiting.popleft()  # only here is anything taken out
        return written

    def _write(self, batch: list[RetrievalTrace]) -> int:
        try:
            with transaction.atomic():
                written = RetrievalTrace.objects.bulk_create([storable(trace) for trace in batch])
                uses_note(written)
                return len(written)
        except DataError:
            if len(batch) == 1:
                logger.exception("the database does not take a retrieval trace, which is dropped")
                self.dropped += 1
                return 0
            return sum(self._write([trace]) for trace in batch)


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
