"""Answers and hits that wait to be written to the database and to Redis, in batches off the path of requests."""

import contextlib
import threading
import time
from itertools import islice

from gateway.caching import table
from gateway.caching.inredis import shared_answers
from gateway.caching.kept import Kept
from gateway.caching.purging import purges
from gateway.models import CachedAnswer
from gateway.redisclient import RedisDown
from routing.counts import Counts
from routing.writing import keep_writing

CAPACITY = 2_000
CAPACITY_CHARACTERS = 20_000_000
"""What waits may have together; a cache may lose answers, so that what comes beyond it is dropped."""
BATCH = 100
SWEEP_SECONDS = 60.0


class Writing:
    """Those who note something never wait. What does not fit is counted in ``dropped``."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[CachedAnswer, Kept]] = {}
        self._characters = 0
        self._hits: Counts[str] = Counts(capacity=CAPACITY)
        self._lock = threading.Lock()  # held for a few operations in memory
        self._writing = threading.Lock()  # held while the database is asked
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._answers) + len(self._hits)

    def note(self, row: CachedAnswer, kept: Kept) -> None:
        """Keep an unsaved row, with the answer in it, until it is written."""
        with self._lock:
            self._take(row.digest)
            if len(self._answers) >= CAPACITY or self._characters + kept.characters > CAPACITY_CHARACTERS:
                self.dropped += 1
                return
            self._answers[row.digest] = row, kept
            self._characters += kept.characters

    def hit(self, digest: str) -> None:
        """Count that an answer was given again."""
        self._hits.add((digest,))

    def flush(self) -> int:
        """Write everything and return how many answers; raises django.db.Error, and keeps what was not written."""
        written = 0
        with self._writing:
            while batch := self._oldest():
                # Looked up and not remembered: a purge's notice may still be on its way.
                known = purges.reload()
                valid = [(row, kept) for row, kept in batch if not known.cover(kept)]
                written += table.write([row for row, _ in valid])
                self._share([kept for _, kept in valid])
                self._forget(batch)
            self._hits.write(table.hits_add)
        return written

    def _oldest(self) -> list[tuple[CachedAnswer, Kept]]:
        with self._lock:
            return list(islice(self._answers.values(), BATCH))

    def _forget(self, batch: list[tuple[CachedAnswer, Kept]]) -> None:
        with self._lock:
            for row, kept in batch:
                if self._answers.get(row.digest) == (row, kept):
                    self._take(row.digest)

    def _take(self, digest: str) -> None:
        if waiting := self._answers.pop(digest, None):
            self._characters -= waiting[1].characters

    def _share(self, answers: list[Kept]) -> None:
        shared = shared_answers()
        if shared and not shared.is_lost:
            with contextlib.suppress(RedisDown):  # the database has them
                shared.store(answers, now=time.time())


writing = Writing()


async def write_answers() -> None:
    """Write what waits each second, for ever, and sweep each minute; survives outages."""
    await keep_writing(
        "answers to be given again",
        waiting=lambda: len(writing),
        flush=writing.flush,
        sweep=table.answers_sweep,
        every=SWEEP_SECONDS,
    )
