"""Takes ingestion jobs out of the queue and runs them, until it is told to stop.

Any number of these, on any machines, share one queue. Each sends heartbeats; the jobs of one that has gone silent are
put back by the others, and at once by the one that follows it on the same machine.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from procrastinate import App, PsycopgConnector
from procrastinate.contrib.django import app, connector_params
from procrastinate.worker import Worker

from knowledge.rescue import STALLED_SECONDS, jobs_rescue, jobs_taken, workers_forget
from knowledge.tasks import DOCUMENTS, PAGES, running
from knowledge.threads import in_thread
from knowledge.watching import keep_watching

logger = logging.getLogger("knowledge")

HEARTBEAT_SECONDS = 3.0
POLL_SECONDS = 5.0
RESCUE_SECONDS = 3.0
STOP_SECONDS = 1.0
"""Given to running jobs to end; those that do not are put back, and go on from where they are."""
KEEP_HOURS = 24
SWEEP_SECONDS = 3600.0


async def work(*, concurrency: int, stop: asyncio.Event, word: Path) -> None:
    """Run up to ``concurrency`` jobs at a time, and as many that wait for pages, until ``stop``.

    ``word`` is a file in which this machine's worker leaves word for the one that follows it. Raises what the database
    raises when it goes away: start again then.
    """
    params = await in_thread(connector_params)()
    # Tasks stay bound to Django's own connection, so that what a job adds to the queue is part of its transactions.
    queue = app.with_connector(PsycopgConnector(kwargs=params, min_size=1, max_size=4, timeout=10))
    with _word(word) as left, _plain_errors():
        async with queue.open_async(), asyncio.TaskGroup() as group:
            await in_thread(workers_forget)(left.read())
            workers = [_worker(queue, name, concurrency) for name in (DOCUMENTS, PAGES)]
            ends = [group.create_task(worker.run(), name=f"worker {worker.worker_name}") for worker in workers]
            others = [
                group.create_task(stop.wait(), name="wait for stop"),
                group.create_task(_rescue(workers, left), name="rescue jobs"),
                group.create_task(_sweep(queue), name="sweep jobs"),
                group.create_task(keep_watching(), name="watch sources"),
            ]
            await asyncio.wait([*ends, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in (*ends, *others):
                task.cancel()


def _worker(queue: App, name: str, concurrency: int) -> Worker:
    return Worker(
        queue,
        queues=[name],
        name=name,
        concurrency=concurrency,
        fetch_job_polling_interval=POLL_SECONDS,
        shutdown_graceful_timeout=STOP_SECONDS,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=STALLED_SECONDS,
        install_signal_handlers=False,
    )


async def _rescue(workers: Sequence[Worker], left: "_Word") -> None:
    """Put back what nobody runs, for ever."""
    suspects: set[int] = set()
    while True:
        ids = [worker.worker_id for worker in workers if worker.worker_id is not None]
        left.write(ids)
        try:
            # Jobs that are ours and do not run here: their end could not be written. Seen so twice, or they may be
            # just beginning or just ending.
            idle = set(await in_thread(jobs_taken)(ids)) - running
            await in_thread(jobs_rescue)(lost=idle & suspects)
            suspects = idle - suspects
        except Exception as error:
            logger.warning("could not look for jobs that nobody runs error=%s", error)
        await asyncio.sleep(RESCUE_SECONDS)


async def _sweep(queue: App) -> None:
    """Delete what the queue remembers of jobs that ended long ago, for ever; their own rows stay."""
    while True:
        try:
            await queue.job_manager.delete_old_jobs(
                nb_hours=KEEP_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
            )
        except Exception as error:
            logger.warning("could not delete old jobs of the queue error=%s", error)
        await asyncio.sleep(SWEEP_SECONDS)


class _Word:
    """The numbers by which the queue knows this machine's workers, kept in a file that one process holds at a time."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._written: list[int] = []

    def read(self) -> list[int]:
        """Return the numbers of the process before, which is gone: its lock on the file is."""
        if self._descriptor is None:
            return []
        try:
            return [int(number) for number in os.pread(self._descriptor, 1000, 0).split()]
        except ValueError:
            return []

    def write(self, ids: list[int]) -> None:
        if self._descriptor is not None and ids != self._written:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, " ".join(map(str, ids)).encode(), 0)
            self._written = ids


@contextlib.contextmanager
def _word(path: Path) -> Iterator[_Word]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another one still runs, or is just ending
            yield _Word(None)
        else:
            yield _Word(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise the first of several errors: with the database away, everything fails for the one reason."""
    try:
        yield
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__  # which says why, where the queue's own error does not
