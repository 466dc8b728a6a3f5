"""The worker: takes jobs out of the queue, and finds those that nobody runs any more."""

import asyncio
import datetime as dt
import time
from contextlib import asynccontextmanager

import pytest
from django.db import InternalError, connection, transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from knowledge import worker as worker_module
from knowledge.documents import job_cancel
from knowledge.equipment import equip
from knowledge.exceptions import EmbeddingFailed
from knowledge.models import Chunk, Document, IngestionJob
from knowledge.receiving import Incoming, document_receive
from knowledge.rescue import STALLED_SECONDS, jobs_rescue
from knowledge.tasks import job_defer, job_hold
from knowledge.threads import in_thread
from knowledge.worker import work
from routing.outages import is_outage
from tests.knowledge.library import Bench, shelf, text_of

pytestmark = pytest.mark.usefixtures("knowledge")

LONG = text_of(
    *(f"Paragraph {n} tells about thing number {n}. " + "It goes on. " * 8 for n in range(200)), title="Long"
)


def receive(collection, data=b"Cats purr.", *, source="note.md", **fields):
    incoming = Incoming(source=source, name=source, data=data)
    return document_receive(collection=collection, incoming=incoming, **fields).job


@asynccontextmanager
async def working(bench, tmp_path, concurrency=2):
    """Have a worker run in this event loop."""
    equip(bench.equipment())
    stop = asyncio.Event()
    running = asyncio.create_task(work(concurrency=concurrency, stop=stop, word=tmp_path / "word"))
    try:
        yield running
    finally:
        stop.set()
        await running


async def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not await in_thread(condition)():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def states():
    return sorted(IngestionJob.objects.values_list("state", flat=True))


def taken_by(worker, job):
    """Have a job look as if ``worker`` (None: one that is gone) had taken it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s", [worker, job.queue_id]
        )


def a_worker(*, silent):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (%s) RETURNING id",
            [timezone.now() - dt.timedelta(seconds=silent)],
        )
        return cursor.fetchone()[0]


class TestWorking:
    async def test_it_runs_what_waits_and_what_comes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(worker_module, "POLL_SECONDS", 600.0)  # it is told by the database
        collection = await in_thread(shelf)()
        for n in range(3):
            await in_thread(receive)(collection, f"Number {n}.".encode(), source=f"{n}.md")
        async with working(Bench(), tmp_path):
            await until(lambda: states() == ["done"] * 3)
            await in_thread(receive)(collection, source="later.md")
            await until(lambda: states() == ["done"] * 4)
        assert not await in_thread(ProcrastinateWorker.objects.exists)()

    async def test_a_failed_job_is_done_for_the_queue(self, tmp_path):
        job = await in_thread(receive)(await in_thread(shelf)(), b" ")
        async with working(Bench(), tmp_path):
            await until(lambda: states() == ["failed"])
        queued = await in_thread(ProcrastinateJob.objects.get)(pk=job.queue_id)
        assert queued.status == "succeeded"

    async def test_what_passes_waits_for_its_pause(self, tmp_path):
        job = await in_thread(receive)(await in_thread(shelf)())
        bench = Bench()
        bench.embedder.fail = EmbeddingFailed("The server is away.")
        async with working(bench, tmp_path):
            await until(lambda: IngestionJob.objects.get().failures == 1)
            await until(lambda: ProcrastinateJob.objects.get(pk=job.queue_id).status == "todo")
        queued = await in_thread(ProcrastinateJob.objects.get)(pk=job.queue_id)
        assert 2 < (queued.scheduled_at - timezone.now()).total_seconds() <= 5

    async def test_a_worker_that_stops_gives_its_jobs_back_and_another_goes_on(self, tmp_path):
        job = await in_thread(receive)(await in_thread(shelf)(), LONG)
        bench = Bench()
        bench.embedder.limit, bench.embedder.hold = 64, asyncio.Event()
        began = time.monotonic()
        async with working(bench, tmp_path):
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            began = time.monotonic()
        assert time.monotonic() - began < 20
        queued = await in_thread(ProcrastinateJob.objects.get)(pk=job.queue_id)
        assert queued.status == "todo"
        bench.embedder.hold = None
        async with working(bench, tmp_path):
            await until(lambda: states() == ["done"])
        asked = bench.embedder.asked
        assert len(asked) == await in_thread(Chunk.objects.count)() == len(set(asked))

    async def test_a_running_job_is_cancelled_at_once(self, tmp_path):
        job = await in_thread(receive)(await in_thread(shelf)(), LONG)
        bench = Bench()
        bench.embedder.limit, bench.embedder.hold = 64, asyncio.Event()
        async with working(bench, tmp_path):
            await asyncio.to_thread(bench.embedder.reached.wait, 20)
            assert await in_thread(job_cancel)(job=job)
            await until(lambda: ProcrastinateJob.objects.get(pk=job.queue_id).status == "aborted")
        assert await in_thread(states)() == ["cancelled"]
        assert not await in_thread(Chunk.objects.exists)()

    async def test_what_is_held_is_left_alone_until_nobody_holds_it(self, tmp_path):
        job = await in_thread(receive)(await in_thread(shelf)(), hold=60)
        async with working(Bench(), tmp_path):
            await asyncio.sleep(1.0)
            assert await in_thread(states)() == ["queued"]
            assert await in_thread(job_hold)(job, 0)
            await until(lambda: states() == ["done"])


class TestRescue:
    async def test_jobs_of_the_worker_before_go_on_at_once(self, tmp_path):
        """As when it was killed: its word is in the file, its last heartbeat is fresh."""
        job = await in_thread(receive)(await in_thread(shelf)())
        worker = await in_thread(a_worker)(silent=0)
        await in_thread(taken_by)(worker, job)
        (tmp_path / "word").write_text(f"{worker} 12345")
        async with working(Bench(), tmp_path):
            await until(lambda: states() == ["done"], seconds=STALLED_SECONDS - 1)

    async def test_a_second_worker_of_a_machine_does_not_take_the_first_for_gone(self, tmp_path):
        async with working(Bench(), tmp_path):
            await until(lambda: ProcrastinateWorker.objects.count() == 2)
            await until(lambda: (tmp_path / "word").read_text() != "")
            first = set(await in_thread(lambda: list(ProcrastinateWorker.objects.values_list("pk", flat=True)))())
            async with working(Bench(), tmp_path):
                await until(lambda: ProcrastinateWorker.objects.count() == 4)
                assert first <= set(
                    await in_thread(lambda: list(ProcrastinateWorker.objects.values_list("pk", flat=True)))()
                )

    async def test_a_job_whose_end_could_not_be_written_is_found(self, tmp_path, monkeypatch):
        monkeypatch.setattr(worker_module, "RESCUE_SECONDS", 0.2)
        job = await in_thread(receive)(await in_thread(shelf)(), hold=60)
        async with working(Bench(), tmp_path):
            await until(lambda: ProcrastinateWorker.objects.count() == 2)
            worker = await in_thread(ProcrastinateWorker.objects.first)()
            await in_thread(taken_by)(worker.pk, job)
            await until(lambda: states() == ["done"])

    @pytest.mark.parametrize(("silent", "expected"), [(5, 0), (20, 1)])
    def test_a_worker_is_given_time_to_be_heard_of(self, silent, expected):
        taken_by(a_worker(silent=silent), receive(shelf()))
        assert jobs_rescue() == expected
        assert ProcrastinateJob.objects.filter(status="todo").count() == expected
        assert jobs_rescue() == 0

    def test_one_that_is_in_no_queue_any_more_is_put_into_it(self):
        job = receive(shelf())
        app.job_manager.cancel_job_by_id(job.queue_id)
        assert jobs_rescue() == 1
        again = IngestionJob.objects.get()
        assert again.queue_id != job.queue_id
        assert jobs_rescue() == 0

    def test_one_that_has_ended_is_left_alone(self):
        job = receive(shelf())
        job_cancel(job=job)
        assert jobs_rescue() == 0
        assert Document.objects.get().status == "failed"


@pytest.mark.django_db(transaction=True)
def test_a_database_that_takes_no_jobs_is_an_outage_and_no_slip_of_ours():
    with pytest.raises(InternalError) as caught, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        job_defer(IngestionJob())
    assert is_outage(caught.value)
