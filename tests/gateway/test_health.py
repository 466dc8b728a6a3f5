"""Whether the endpoint says it can answer, and what of its surroundings it says cannot."""

import asyncio
import datetime as dt
import json
import threading

import pytest
from django.db import OperationalError
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob, ProcrastinateWorker

from gateway import health
from gateway.exposition import JournalState
from knowledge.rescue import jobs_unattended
from tests.gateway.observed import endpoint, model_server

__all__ = ["endpoint", "model_server"]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(health, "_database", lambda: {"database": "ok"})


async def told(endpoint):
    answer = await endpoint.send("/health/ready", method="GET")
    return answer.status, json.loads(answer.body)


async def test_all_is_well(endpoint):
    dependencies = {"database": "ok", "model server box of general": "ok"}
    assert await told(endpoint) == (200, {"status": "ok", "dependencies": dependencies})


async def test_a_database_that_is_away_is_degraded_as_chats_go_on(endpoint, monkeypatch):
    monkeypatch.setattr(health, "_database", lambda: {"database": "does not answer (OperationalError)"})
    status, body = await told(endpoint)
    assert (status, body["status"]) == (200, "degraded")
    assert body["dependencies"]["database"] == "does not answer (OperationalError)"
    assert (await endpoint.send()).status == 200


async def test_a_disk_that_is_nearly_full_is_told_with_what_to_do(endpoint, monkeypatch):
    monkeypatch.setattr(health, "LEAST_FREE", 2**62)
    status, body = await told(endpoint)
    assert (status, body["status"]) == (200, "degraded")
    assert "make room where MOE_DATA_DIR is" in body["dependencies"]["disk"]


async def test_a_data_directory_that_is_gone_is_told(endpoint, settings, tmp_path):
    settings.MOE_DATA_DIR = tmp_path / "gone"
    assert "MOE_DATA_DIR" in (await told(endpoint))[1]["dependencies"]["disk"]


async def test_a_database_that_does_not_say_so_is_not_waited_for(endpoint, monkeypatch):
    monkeypatch.setattr(health, "DATABASE_SECONDS", 0.05)
    gate = threading.Event()
    monkeypatch.setattr(health, "_database", lambda: gate.wait(30))
    began = asyncio.get_running_loop().time()
    status, body = await told(endpoint)
    gate.set()
    assert asyncio.get_running_loop().time() - began < 10
    assert (status, body["dependencies"]["database"]) == (200, "does not answer within 0.05 s")


async def test_without_a_model_server_it_is_not_ready(endpoint):
    endpoint.server.refuse()
    status, body = await told(endpoint)
    assert (status, body["status"]) == (503, "unavailable")
    assert body["dependencies"]["model server box of general"] == "does not answer"


async def test_records_that_pile_up_are_told(endpoint, monkeypatch):
    monkeypatch.setattr(health, "journals", lambda: [JournalState("decisions", 4_321, 0), JournalState("usage", 3, 0)])
    status, body = await told(endpoint)
    assert (status, body["status"]) == (200, "degraded")
    assert body["dependencies"]["records of decisions"] == "4,321 wait to be written"
    assert "records of usage" not in body["dependencies"]


class TestTheDatabase:
    @pytest.fixture(autouse=True)
    def really(self, monkeypatch):
        monkeypatch.undo()

    @pytest.mark.django_db
    def test_jobs_that_nobody_takes_are_told(self):
        ProcrastinateJob.objects.all()._raw_delete("default")  # the queue's tables outlast other tests
        assert health._database() == {"database": "ok"}
        later = timezone.now() + dt.timedelta(hours=1)
        for scheduled_at in (None, None, later):
            _job(scheduled_at)
        assert jobs_unattended() == 2
        assert health._database()["ingestion"].startswith("2 jobs wait and no worker runs")

    @pytest.mark.django_db
    def test_jobs_that_a_worker_will_take_are_not(self):
        _job(None)
        _worker(timezone.now())
        assert health._database() == {"database": "ok"}

    def test_an_error_is_a_reason(self, monkeypatch):
        def away():
            raise OperationalError

        monkeypatch.setattr(health.connection, "cursor", away)
        assert health._database() == {"database": "does not answer (OperationalError)"}


def _job(scheduled_at):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at) VALUES ('documents', 'x', %s)",
            [scheduled_at],
        )
    assert ProcrastinateJob.objects.exists()


def _worker(heartbeat):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (%s)", [heartbeat])
    assert ProcrastinateWorker.objects.exists()
