"""Managing the models of a server: progress of a pull, what is in memory, loading, unloading, deleting."""

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.loading import model_warm
from routing.backends.protocol import ServerAddress, ServerKind
from routing.exceptions import BadRequest, ModelNotInstalled, Unreachable, UpstreamFailed, UpstreamTimedOut
from routing.modelcare import (
    PullMeter,
    PullProgress,
    ResidentModel,
    checked_name,
    model_delete,
    model_pull,
    model_unload,
    models_resident,
    server_state,
)
from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

NEW = ScriptedModel(name="qwen3:8b", size=1000)


def meter(*lines):
    reading = PullMeter("gpu-box", "qwen3:8b")
    return reading, [reading.feed(json.dumps(line).encode()) for line in lines]


class TestProgress:
    def test_layers_that_arrive_side_by_side_are_added_up(self):
        _, progress = meter(
            {"status": "pulling manifest"},
            {"status": "pulling a", "digest": "sha256:a", "total": 100},
            {"status": "pulling b", "digest": "sha256:b", "total": 50, "completed": 10},
            {"status": "pulling a", "digest": "sha256:a", "total": 100, "completed": 60},
            {"status": "pulling b", "digest": "sha256:b", "total": 50, "completed": 50},
            {"status": "verifying sha256 digest"},
        )
        assert [(step.completed, step.total) for step in progress] == [
            (0, 0),
            (0, 100),
            (10, 150),
            (70, 150),
            (110, 150),
            (110, 150),
        ]
        assert progress[-1] == PullProgress(status="verifying sha256 digest", completed=110, total=150)
        assert progress[-1].percent == 73

    def test_a_line_without_numbers_takes_nothing_back(self):
        layer = {"status": "pulling a", "digest": "sha256:a"}
        _, progress = meter(layer | {"total": 100, "completed": 60}, layer)
        assert (progress[-1].completed, progress[-1].total) == (60, 100)

    @pytest.mark.parametrize(
        ("statuses", "done"),
        [
            (["pulling manifest", "success"], True),
            (["success", "pulling manifest"], False),
            (["writing manifest"], False),
            ([], False),
        ],
    )
    def test_only_success_as_the_last_status_is_success(self, statuses, done):
        reading, _ = meter(*({"status": status} for status in statuses))
        assert reading.done is done

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            ("pull model manifest: file does not exist", "Check the name"),
            ("max retries exceeded: EOF", "Pulling again goes on"),
            ({"message": "disk full"}, "disk full"),
        ],
    )
    def test_an_error_says_what_to_do(self, error, words):
        with pytest.raises(UpstreamFailed, match=words):
            meter({"status": "pulling manifest"}, {"error": error})

    @pytest.mark.parametrize("line", [b"<html>", b"[]", b'"success"', b"1"])
    def test_something_else_is_no_progress(self, line):
        with pytest.raises(UpstreamFailed, match="no progress"):
            PullMeter("gpu-box", "m").feed(line)

    def test_an_empty_line_says_nothing(self):
        assert PullMeter("gpu-box", "m").feed(b"  ") is None


@pytest.mark.parametrize("text", ["", "  ", "two words", "<script>", 'a"b', "x" * 301, "a\nb"])
def test_what_is_no_name_of_a_model(text):
    with pytest.raises(BadRequest):
        checked_name(text)


@pytest.mark.parametrize("text", [" qwen3:8b ", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "me/mine"])
def test_what_is_a_name_of_a_model(text):
    assert checked_name(text) == text.strip()


# A scripted server


@pytest.fixture(scope="module")
def _scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def scripted(_scripted):
    _scripted.clear()
    _scripted.models[:] = [
        ScriptedModel(name="llama3.2:3b", capabilities=("completion", "tools")),
        ScriptedModel(name="nomic-embed-text:latest", capabilities=("embedding",)),
    ]
    return _scripted


@pytest.fixture
def address(scripted):
    return ServerAddress(name="gpu-box", kind=ServerKind.OLLAMA, base_url=scripted.url)


@pytest.fixture
async def client():
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))
    yield client
    await client.aclose()


async def pulled(address, client, name="qwen3:8b"):
    return [progress async for progress in model_pull(address, client, name)]


def names(scripted):
    return [model.name for model in scripted.models]


class TestPull:
    async def test_ends_with_the_model_installed(self, scripted, address, client):
        scripted.offer(NEW)
        steps = await pulled(address, client)
        assert steps[0] == PullProgress(status="pulling manifest")
        assert steps[-1] == PullProgress(status="success", completed=1000, total=1000)
        done = [step.completed for step in steps]
        assert done == sorted(done)
        assert "qwen3:8b" in names(scripted)

    async def test_what_the_registry_does_not_have(self, scripted, address, client):
        with pytest.raises(UpstreamFailed, match="Check the name"):
            await pulled(address, client, "qwen33:8b")

    async def test_an_error_in_the_middle(self, scripted, address, client):
        scripted.offer(NEW)
        scripted.reply(Reply(error="max retries exceeded", error_after=4), path="/api/pull")
        with pytest.raises(UpstreamFailed, match=r"max retries exceeded.*goes on where it stopped"):
            await pulled(address, client)
        assert "qwen3:8b" not in names(scripted)

    @pytest.mark.parametrize("fault", [{"end_without_done": True}, {"drop_after": 5}, {"drop_after": 5, "reset": True}])
    async def test_an_end_without_success_is_a_failure(self, scripted, address, client, fault):
        scripted.offer(NEW)
        scripted.reply(Reply(**fault), path="/api/pull")
        with pytest.raises(UpstreamFailed):
            await pulled(address, client)

    async def test_a_server_that_falls_silent(self, scripted, address):
        client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=0.5))
        scripted.offer(NEW)
        scripted.reply(Reply(hang_after=3), path="/api/pull")
        with pytest.raises(UpstreamTimedOut):
            await pulled(address, client)
        await client.aclose()

    async def test_leaving_cancels_and_pulling_again_goes_on(self, scripted, address, client):
        scripted.offer(NEW)
        scripted.reply(Reply(delay=0.01, hang_after=8), path="/api/pull")
        reached = 0
        async with aclosing(model_pull(address, client, "qwen3:8b")) as steps:
            async for step in steps:
                reached = step.completed
                if reached >= 700:
                    break
        assert await asyncio.to_thread(scripted.requests_to("/api/pull")[0].wait_disconnected)
        steps = await pulled(address, client)
        first = next(step for step in steps if step.total == 1000)
        assert first.completed >= reached
        assert steps[-1].status == "success"

    async def test_lines_cut_anywhere(self, scripted, address, client):
        scripted.offer(NEW)
        scripted.reply(Reply(split_bytes=7), path="/api/pull")
        assert (await pulled(address, client))[-1].status == "success"

    async def test_a_server_that_is_away(self, client):
        away = ServerAddress(name="away", kind=ServerKind.OLLAMA, base_url="http://127.0.0.1:9")
        with pytest.raises(Unreachable):
            await pulled(away, client)


class TestMemory:
    async def test_resident_models_are_told_with_window_share_and_end(self, scripted, address, client):
        scripted.loaded["llama3.2:3b"] = Residency(
            context_length=8192, vram=0.5, expires_at=datetime.now(UTC) + timedelta(minutes=5)
        )
        scripted.loaded["nomic-embed-text:latest"] = Residency(context_length=2048)
        for_ever, half = await models_resident(address, client)
        assert (half.name, half.context_length, half.vram_percent, half.stays) == ("llama3.2:3b", 8192, 50, False)
        assert (for_ever.name, for_ever.vram_percent, for_ever.stays) == ("nomic-embed-text:latest", 100, True)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"models": None}, []),
            ({"models": [{"model": "old"}]}, [ResidentModel(name="old", vram_bytes=0)]),
            (
                {"models": [{"name": "m", "size": 0, "size_vram": 0, "expires_at": "soon", "context_length": 4096}]},
                [ResidentModel(name="m", size_bytes=0, vram_bytes=0, context_length=4096)],
            ),
            (
                {"models": [{"name": "m", "expires_at": "2026-08-01T09:30:15.123456789Z"}]},
                [ResidentModel(name="m", vram_bytes=0, expires_at=datetime(2026, 8, 1, 9, 30, 15, 123456, tzinfo=UTC))],
            ),
        ],
    )
    async def test_old_and_odd_answers(self, scripted, address, client, body, expected):
        scripted.reply(Reply(body=body), path="/api/ps")
        assert await models_resident(address, client) == expected

    @pytest.mark.parametrize("body", ["[]", '{"models": 1}', '{"models": ["m"]}'])
    async def test_something_else_than_ollama(self, scripted, address, client, body):
        scripted.reply(Reply(body=body), path="/api/ps")
        with pytest.raises(UpstreamFailed, match="as Ollama does"):
            await models_resident(address, client)

    async def test_a_model_is_loaded_with_its_replicas_window(self, scripted, address, client):
        await model_warm(address, client, "llama3.2:3b", 2048, "-1")
        [resident] = await models_resident(address, client)
        assert (resident.context_length, resident.stays) == (2048, True)
        assert scripted.requests_to("/api/chat")[0].json["messages"] == []

    @pytest.mark.parametrize("keep_alive", [None, "", "0", "0s", "5m"])
    async def test_a_model_that_is_loaded_stays_loaded(self, scripted, address, client, keep_alive):
        await model_warm(address, client, "llama3.2:3b", None, keep_alive)
        assert len(await models_resident(address, client)) == 1

    async def test_an_embedding_model_is_loaded_by_what_it_can_do(self, scripted, address, client):
        await model_warm(address, client, "nomic-embed-text", capabilities=["embedding"])
        assert [model.name for model in await models_resident(address, client)] == ["nomic-embed-text:latest"]

    async def test_a_model_is_unloaded(self, scripted, address, client):
        scripted.loaded["llama3.2:3b"] = Residency()
        await model_unload(address, client, "llama3.2:3b")
        assert await models_resident(address, client) == []

    async def test_a_model_that_is_not_there(self, scripted, address, client):
        for work in (model_warm, model_unload, model_delete):
            with pytest.raises(ModelNotInstalled, match="'nothing:1b'"):
                await work(address, client, "nothing:1b")


async def test_a_model_is_deleted(scripted, address, client):
    await model_delete(address, client, "llama3.2:3b")
    assert names(scripted) == ["nomic-embed-text:latest"]


async def test_a_server_of_another_kind_is_refused_in_words(scripted, client):
    other = ServerAddress(name="vllm", kind=ServerKind.OPENAI, base_url=scripted.url)
    for work in (model_warm, model_unload, model_delete, pulled):
        with pytest.raises(BadRequest, match="works with Ollama servers only"):
            await work(other, client, "llama3.2:3b")
    with pytest.raises(BadRequest, match="Ollama servers only"):
        await models_resident(other, client)


async def test_the_state_of_a_server(scripted, address, client):
    scripted.loaded["llama3.2:3b"] = Residency()
    state = await server_state(address, client)
    assert (state.reason, state.version, [model.name for model in state.resident]) == ("", "0.32.5", ["llama3.2:3b"])
    other = ServerAddress(name="vllm", kind=ServerKind.OPENAI, base_url=scripted.url)
    assert not (await server_state(other, client)).reason
    away = ServerAddress(name="away", kind=ServerKind.OLLAMA, base_url="http://127.0.0.1:9")
    assert "cannot be reached" in (await server_state(away, client)).reason
    scripted.reply(Reply(body="[]"), path="/api/version")
    assert not (await server_state(address, client)).version
