"""Figures for Prometheus: what is counted at the doors, that clients cannot make series, and what counting costs."""

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import exposition, metrics
from gateway.account import Account
from gateway.auth import Caller
from gateway.guards.findings import Action, Place
from gateway.guards.guard import Guard, Size
from gateway.guards.guarding import Guarding
from routing import metrics as pool
from routing.backends.protocol import Finish, ServerAddress, ServerKind, Usage
from routing.catalog import Expert, Profile, Replica
from routing.decision import Decision, new_id
from routing.exceptions import UpstreamFailed
from routing.metering import called
from routing.metrics import FOLDER_VARIABLE, REGISTRY, folder_empty, folder_of, process_forget
from tests.gateway.observed import MODEL, endpoint, model_server
from tests.scripted import Reply

__all__ = ["endpoint", "model_server"]

ROOT = Path(__file__).resolve().parents[2]


class Figures:
    """Tells by how much figures grew since it was made."""

    def __init__(self):
        self._before = self._now()

    def _now(self):
        return {
            (one.name, *sorted(one.labels.items())): one.value
            for metric in REGISTRY.collect()
            for one in metric.samples
        }

    def grew(self, name, **labels):
        key = (name, *sorted(labels.items()))
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)


@pytest.fixture
def figures():
    return Figures()


async def test_an_answer_is_counted_with_its_tokens_and_times(endpoint, figures):
    await endpoint.send(stream=True)
    await endpoint.send("/v1/completions", model="auto", prompt="Once upon a time")
    for door in ("completion", "text completion"):
        assert figures.grew("moe_requests_total", door=door, asked="auto", expert="general", status="200") == 1
    assert figures.grew("moe_tokens_total", expert="general", kind="prompt") == 22
    assert figures.grew("moe_tokens_total", expert="general", kind="completion") == 8
    for name in ("moe_first_token_seconds_count", "moe_request_seconds_count"):
        assert figures.grew(name, expert="general") == 2
    assert figures.grew("moe_queue_wait_seconds_count") == 2


async def test_failures_retries_and_fallbacks(endpoint, figures):
    broken = f"http://127.0.0.1:{endpoint.server.port}/gone"
    endpoint.has(general=broken, spare=endpoint.server.url)
    assert (await endpoint.send()).status == 200
    assert figures.grew("moe_fallbacks_total", expert="general", by="spare") == 1
    assert figures.grew("moe_attempts_failed_total", server=broken, model=MODEL, code="model_not_found") == 1
    endpoint.server.reply(Reply(status=500, error="broken"))
    assert (await endpoint.send(model="spare")).status == 200
    assert figures.grew("moe_retries_total", server=endpoint.server.url, model=MODEL) == 1


async def test_errors_and_cancellations_have_their_status(endpoint, figures):
    endpoint.server.reply(Reply(status=500, error="broken"), times=2)
    await endpoint.send()
    endpoint.server.clear()
    endpoint.server.reply(Reply(content=["a"], hang_after=1))
    await endpoint.send(stream=True, leave_when="/api/chat")
    counted = {"door": "completion", "asked": "auto", "expert": "general"}
    assert figures.grew("moe_requests_total", **counted, status="502") == 1
    assert figures.grew("moe_requests_total", **counted, status="499") == 1
    assert figures.grew("moe_request_failures_total", code="upstream_error") == 1
    assert figures.grew("moe_request_seconds_count", expert="general") == 0


async def test_an_answer_that_the_server_breaks_off_as_it_stops_was_not_left_by_its_client(endpoint, figures):
    endpoint.server.reply(Reply(content=["a"], hang_after=1))
    stopped = await endpoint.send(stream=True, stop_when="/api/chat")
    assert b"Send the request again" in stopped.body
    counted = {"door": "completion", "asked": "auto", "expert": "general"}
    assert figures.grew("moe_requests_total", **counted, status="503") == 1
    assert figures.grew("moe_requests_total", **counted, status="499") == 0


async def test_a_load_is_timed(endpoint, figures):
    endpoint.server.loaded.clear()
    await endpoint.send()
    assert figures.grew("moe_model_load_seconds_count", server=endpoint.server.url, model=MODEL) == 1


async def test_names_that_clients_make_up_are_no_series(endpoint, figures):
    for number in range(30):
        assert (await endpoint.send(model=f"made-up-{number}")).status == 404
    assert figures.grew("moe_requests_total", door="completion", asked="other", expert="", status="404") == 30
    assert "made-up" not in exposition.text().decode()


def test_a_label_that_nobody_knows_beforehand_is_bounded():
    names = metrics.Names(most=2)
    assert [names.bounded(name) for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


def test_the_text_is_what_prometheus_reads(figures):
    families = {family.name: family for family in text_string_to_metric_families(exposition.text().decode())}
    assert families["moe_build_info"].samples[0].labels["version"] == exposition.version() != "unknown"
    assert not [name for name in families if name.endswith("_created")]
    assert {sample.labels["journal"] for sample in families["moe_records_dropped"].samples} >= {
        "decisions",
        "retrievals",
    }


def test_what_a_journal_drops_is_counted_once(monkeypatch, figures):
    monkeypatch.setattr(exposition, "_sums", exposition.Sums())
    for dropped in (7, 7, 9):
        monkeypatch.setattr(exposition.journal, "dropped", dropped)
        exposition.refresh()
    assert figures.grew("moe_records_dropped_total", journal="decisions") == 9


# --- several processes ------------------------------------------------------------------------------------------

PROCESS = """
import sys, django
django.setup()
from gateway import exposition, metrics
from routing import metrics as pool
kind, chats = sys.argv[1], int(sys.argv[2])
for number in range(chats):
    metrics.requests.labels("completion", "auto", "general", "200").inc()
    metrics.first_token.labels("general").observe(number)
pool.lane_in_flight.labels("http://box", "m").set(chats)
pool.lane_first_token.labels("http://box", "m").set(chats / 10)
exposition.refresh(kind)
print("ready", flush=True)
sys.stdin.read()
if kind == "web":
    sys.stdout.write(exposition.text().decode())
"""


def start(folder, kind, chats):
    environment = os.environ | {FOLDER_VARIABLE: str(folder)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROCESS), kind, str(chats)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_one_is_asked_and_tells_the_sums_of_all(tmp_path):
    folder = tmp_path / "figures"
    folder_empty(folder)
    (folder / "counter_1.db").write_bytes(b"left by those who ran before")
    folder_empty(folder)
    running = [start(folder, "web", 3), start(folder, "web", 4), start(folder, "ingestion", 0)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 3
    running[1].kill()  # what it had counted stays, what it was doing does not
    running[1].wait()
    process_forget(folder, running[1].pid)
    text, _ = running[0].communicate()
    running[2].communicate()
    figures = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert figures["moe_requests_total", "200", "auto", "completion", "general"] == 7
    assert figures["moe_first_token_seconds_count", "general"] == 7
    assert figures["moe_first_token_seconds_bucket", "1.0", "general"] == 4
    assert figures["moe_lane_in_flight", "http://box", "m"] == 3
    assert figures["moe_processes", "web"] == 1
    assert figures["moe_processes", "ingestion"] == 1
    running[1].stdout.close()
    running[1].stdin.close()


# --- what it costs ----------------------------------------------------------------------------------------------


def ended():
    box = Replica(
        server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box"), embedded=False, model="m"
    )
    decision = Decision(
        id=new_id(), expert=Expert(slug="code", replicas=(box,)), route="rule", why="", profile=Profile(slug="auto")
    )
    account = Account(what="completion", request_id="req", caller=Caller(), asked="auto", decision=decision)
    call = called(decision.expert, box)
    call.note(Finish(reason="stop", usage=Usage(prompt_tokens=10, completion_tokens=20)))
    account.answered_by, account.replica, account.reason, account.first_event = "code", box, "stop", 0.1
    return account


def test_an_account_that_failed_has_no_latency(figures):
    account = ended()
    account.reason, account.error = None, UpstreamFailed("x")
    metrics.count(account, 1.0)
    assert figures.grew("moe_request_seconds_count", expert="code") == 0
    assert figures.grew("moe_requests_total", door="completion", asked="auto", expert="code", status="502") == 1


async def test_keeping_fresh_survives_a_database_that_is_away(monkeypatch):
    monkeypatch.setattr(exposition, "FRESH_SECONDS", 0.01)
    monkeypatch.setattr(exposition, "jobs_count", lambda: (_ for _ in ()).throw(OSError("away")))
    keeping = asyncio.create_task(exposition.keep_fresh("ingestion"))
    await asyncio.sleep(0.1)
    assert not keeping.done()
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


def test_limits_are_told_by_group_and_never_by_key(figures):
    metrics.limit_refused("tokens_per_day", "group:marketing")
    metrics.limit_refused("requests_per_minute", "key:17")
    assert figures.grew("moe_limits_refused_total", limit="tokens_per_day", group="marketing") == 1
    assert figures.grew("moe_limits_refused_total", limit="requests_per_minute", group="") == 1


def test_what_guards_found_is_counted_by_guard_place_and_action(figures):
    account = ended()
    account.guarding = Guarding((), account.caller)
    guard = Guard(
        name="keys",
        check="size",
        work=Size(characters=9, tokens=9),
        action=Action.MASK,
        places=frozenset({Place.INPUT}),
    )
    for _ in range(2):
        account.guarding.tell(guard, Place.INPUT, "api key")
    metrics.count(account, 1.0)
    assert figures.grew("moe_guard_findings_total", guard="keys", where="input", action="masked") == 2
    assert figures.grew("moe_guard_findings_total", guard="keys", where="input", action="mask") == 0


def test_caches_of_vectors_are_counted_where_they_count_themselves(monkeypatch, figures):
    monkeypatch.setattr(exposition, "_sums", exposition.Sums())
    monkeypatch.setattr(exposition.vectors, "hits", 5)
    monkeypatch.setattr(exposition.vectors, "misses", 2)
    exposition.refresh()
    assert figures.grew("moe_cache_total", cache="embedding", result="hit") == 5
    assert figures.grew("moe_cache_total", cache="embedding", result="miss") == 2


class TestTheFolder:
    """Where processes of one installation keep what they add up."""

    def test_is_in_memory_and_each_installations_own(self, tmp_path):
        first, second = folder_of(tmp_path / "one", memory=tmp_path), folder_of(tmp_path / "two", memory=tmp_path)
        assert first.parent == second.parent == tmp_path
        assert first != second
        assert folder_of(tmp_path / "one", memory=tmp_path) == first
        assert first.stat().st_mode & 0o777 == 0o700

    def test_is_in_the_data_directory_where_memory_has_no_room(self, tmp_path, monkeypatch):
        monkeypatch.setattr(pool, "MEMORY_BYTES", 2**60)
        assert folder_of(tmp_path / "data", memory=tmp_path) == tmp_path / "data/figures"
        assert folder_of(tmp_path / "data", memory=tmp_path / "missing") == tmp_path / "data/figures"

    def test_is_not_what_somebody_else_put_there(self, tmp_path):
        mine = folder_of(tmp_path / "data", memory=tmp_path)
        mine.rmdir()
        (tmp_path / "theirs").mkdir()
        mine.symlink_to(tmp_path / "theirs")
        assert folder_of(tmp_path / "data", memory=tmp_path) == tmp_path / "data/figures"
