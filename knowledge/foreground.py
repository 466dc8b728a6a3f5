"""Ingestion in the process that asks for it: documents come, are read here, and their jobs are held meanwhile.

A held job waits in the queue for a time that is not to come: it is put off again and again while this process lives.
Once it does not, a worker takes the job up where it was left.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from django.db import Error

from knowledge.documents import job_cancel
from knowledge.equipment import Equipment, shared_equipment
from knowledge.ingest import ingest
from knowledge.jobs import Postponed
from knowledge.models import IngestionJob, JobState, Stage
from knowledge.revisions import UNCHANGED, Received
from knowledge.tasks import job_hold, job_withdraw
from knowledge.threads import in_thread
from routing.exceptions import EndpointError

FAILED = "failed"
HOLD_SECONDS = 15.0
PAUSES = (1.0, 4.0, 10.0)
"""Seconds before what went wrong for a reason that passes is tried again here; then it is left to the worker."""
LOOK_SECONDS = 0.3

Receive = Callable[[], Received | IngestionJob]
"""Takes a document in, with its job held for HOLD_SECONDS; blocks its thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something to be taken in; ``name`` is what people call it."""

    name: str
    receive: Receive


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``result`` is "created", "updated", "unchanged" or "failed", and ``reason`` says why it failed."""

    name: str
    result: str
    reason: str = ""
    pieces: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Hears how each errand goes on, and how it went."""

    progress: Callable[[str, Stage, int, int], None]
    outcome: Callable[[Outcome], None]


@dataclass(slots=True)
class Foreground:
    """Runs errands, ``concurrency`` at a time."""

    listener: Listener
    concurrency: int = 4
    equipment: Equipment | None = None
    _held: dict[object, IngestionJob] = field(default_factory=dict, init=False)
    _holds: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def run(self, errands: Iterable[Errand]) -> None:
        """Run ``errands``, taken one by one as there is room. What a cancelled run has begun is cancelled with it."""
        waiting = iter(errands)

        async def work() -> None:
            for errand in waiting:
                self.listener.outcome(await self._outcome(errand))

        async with self._holding(), asyncio.TaskGroup() as group:
            for _ in range(self.concurrency):
                group.create_task(work())

    async def _outcome(self, errand: Errand) -> Outcome:
        try:
            received = await in_thread(errand.receive)()
            if not isinstance(received, Received):
                return await self._brought(errand.name, received, await in_thread(job_hold)(received, HOLD_SECONDS))
            if received.job is None:
                return Outcome(name=errand.name, result=received.result)
            # One that is unchanged and has a job waits from an earlier time, or is being read by a worker just now.
            held = received.result != UNCHANGED or await in_thread(job_hold)(received.job, HOLD_SECONDS)
            return await self._brought(errand.name, received.job, held)
        except EndpointError as error:
            return Outcome(name=errand.name, result=FAILED, reason=error.message)
        except (Error, OSError) as error:
            return Outcome(name=errand.name, result=FAILED, reason=f"{type(error).__name__}: {error}")

    async def _brought(self, name: str, job: IngestionJob, held: bool) -> Outcome:
        """Run a job that is ``held``, or wait for the worker that has it."""
        if held:
            self._held[job.pk] = job
            try:
                postponed = await self._run(name, job)
            except asyncio.CancelledError:
                await asyncio.shield(in_thread(job_cancel)(job=job))
                raise
            finally:
                self._held.pop(job.pk, None)
            if postponed is not None:
                await in_thread(job_hold)(job, postponed.seconds)
                reason = f"{postponed} The worker of 'manage.py serve' tries it again."
                return Outcome(name=name, result=FAILED, reason=reason)
        ended = await self._ended(job, held)
        if held:
            async with self._holds:  # one that was being put off just then is back in the queue
                await in_thread(job_withdraw)(job.queue_id)
        if ended.state == JobState.DONE:
            return Outcome(name=name, result=ended.result, pieces=ended.total)
        return Outcome(name=name, result=FAILED, reason=ended.error)

    async def _run(self, name: str, job: IngestionJob) -> Postponed | None:
        """Run a job here; return why it is left to the worker, None if it is not."""
        for pause in (*PAUSES, None):
            try:
                await ingest(
                    job.pk,
                    progress=lambda *now: self.listener.progress(name, *now),
                    equipment=self.equipment or shared_equipment(),
                )
            except Postponed as error:
                if pause is None:
                    return error
                await asyncio.sleep(min(pause, error.seconds))
            else:
                break
        return None

    async def _ended(self, job: IngestionJob, held: bool) -> IngestionJob:
        """Wait until a job has ended, here or elsewhere, and return it as it is then."""
        while not (found := await in_thread(_looked_at)(job, held)).is_finished:  # noqa: ASYNC110 - perhaps elsewhere
            await asyncio.sleep(LOOK_SECONDS)
        return found

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[None]:
        async def hold() -> None:
            while True:
                await asyncio.sleep(HOLD_SECONDS / 3)
                for job in [*self._held.values()]:
                    async with self._holds:
                        if job.pk not in self._held:
                            continue
                        with contextlib.suppress(Exception):  # the next time, or a worker takes it up
                            await in_thread(job_hold)(job, HOLD_SECONDS)

        holding = asyncio.create_task(hold(), name="hold jobs")
        try:
            yield
        finally:
            holding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await holding


def _looked_at(job: IngestionJob, held: bool) -> IngestionJob:
    """Return a job as it is now; the queue has done with one that was held and has ended."""
    found = IngestionJob.objects.filter(pk=job.pk).first()
    if found is None:
        job.state, job.error = JobState.CANCELLED, "The document was deleted meanwhile."
        return job
    if held and found.is_finished:
        job_withdraw(found.queue_id)
    return found
