"""The client of model servers against a scripted one: odd answers end in plain words, never in a hang or a 500."""

import pytest

from routing.backends.client import Timeouts, UpstreamClient
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind
from routing.exceptions import UpstreamFailed
from tests.requests import chat_call
from tests.scripted import Reply, ScriptedServer


@pytest.fixture(scope="module")
def scripted():
    with ScriptedServer() as server:
        yield server


@pytest.fixture
async def client():
    client = UpstreamClient(Timeouts(connect=10, first_byte=30, idle=30))
    yield client
    await client.aclose()


async def answer(client, scripted, kind, reply):
    path = "/api/chat" if kind is ServerKind.OLLAMA else "/v1/chat/completions"
    scripted.clear()
    scripted.reply(reply, path=path)
    address = ServerAddress(name="gpu-box", kind=kind, base_url=scripted.url)
    return [event async for event in client.chat(address, chat_call())]


@pytest.mark.parametrize("line", ['{"message":"text"}', '{"message":{"tool_calls":["x"]}}', '{"logprobs":[1]}'])
async def test_an_object_of_another_shape_from_ollama(client, scripted, line):
    with pytest.raises(UpstreamFailed, match="no answer"):
        await answer(client, scripted, ServerKind.OLLAMA, Reply(body=line + "\n"))


@pytest.mark.parametrize("data", ['{"choices":[null]}', '{"choices":[{"delta":"x"}]}', '{"usage":"x"}'])
async def test_an_object_of_another_shape_from_others(client, scripted, data):
    with pytest.raises(UpstreamFailed, match="no answer"):
        await answer(client, scripted, ServerKind.OPENAI, Reply(body=f"data: {data}\n\n"))


async def test_an_answer_that_named_its_finish_is_whole_without_the_last_marker(client, scripted):
    chunk = '{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}'
    events = await answer(client, scripted, ServerKind.OPENAI, Reply(body=f"data: {chunk}\n"))
    assert events == [Delta(content="Hi"), Finish(reason="stop")]


async def test_a_model_too_large_for_the_memory_is_not_worth_a_retry(client, scripted):
    reply = Reply(status=500, error="model requires more system memory (9 GiB) than is available")
    with pytest.raises(UpstreamFailed) as caught:
        await answer(client, scripted, ServerKind.OLLAMA, reply)
    assert caught.value.should_retry is False


async def test_addresses_of_the_network_behind_are_not_told(client, scripted):
    reply = Reply(status=500, error="dial tcp 10.0.0.7:11434 via http://inner.example/x failed")
    with pytest.raises(UpstreamFailed) as caught:
        await answer(client, scripted, ServerKind.OLLAMA, reply)
    assert "10.0.0.7" not in caught.value.message
    assert "inner.example" not in caught.value.message
