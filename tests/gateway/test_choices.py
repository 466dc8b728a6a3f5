"""Several answers to one request (n)."""

import asyncio
from typing import Any

import openai
import pytest

from gateway.choices import merged, side_by_side, single, total
from routing.backends.protocol import Delta, Finish, Usage
from tests.requests import HELLO, chat_request
from tests.scripted import Reply, ToolCall


class Sources:
    """Generators that yield what they are told, and note that they were closed."""

    def __init__(self) -> None:
        self.closed: list[int] = []
        self.asked: list[Any] = []

    async def make(self, number: int, *items: Any):
        try:
            for item in items:
                await asyncio.sleep(0)
                if isinstance(item, Exception):
                    raise item
                if item is ...:
                    await asyncio.sleep(60)
                yield item
        finally:
            await asyncio.sleep(0)
            self.closed.append(number)

    def run(self, request):
        self.asked.append(request)
        number = len(self.asked) - 1
        usage = Usage(prompt_tokens=7, completion_tokens=number + 1)
        return self.make(number, Delta(content=f"{number}"), Finish(reason="stop", usage=usage))


async def test_what_comes_is_yielded_as_it_comes():
    sources = Sources()
    seen = [item async for item in merged([sources.make(0, "a", "b", "c"), sources.make(1, "x"), sources.make(2)])]
    assert [item for number, item in seen if number == 0] == ["a", "b", "c"]
    assert [item for number, item in seen if number == 1] == ["x"]
    assert seen.index((1, "x")) < seen.index((0, "c"))
    assert sorted(sources.closed) == [0, 1, 2]


async def test_an_error_of_one_ends_all():
    sources = Sources()
    with pytest.raises(ValueError, match="broken"):
        async for _ in merged([sources.make(0, "a", ...), sources.make(1, ValueError("broken"))]):
            pass
    assert sorted(sources.closed) == [0, 1]


async def test_leaving_early_closes_all():
    sources = Sources()
    merger = merged([sources.make(0, "a", ...), sources.make(1, "b", ...)])
    await anext(merger)
    await merger.aclose()
    assert sorted(sources.closed) == [0, 1]


async def test_being_cancelled_closes_all():
    sources = Sources()

    async def consume():
        async for _ in merged([sources.make(0, ...), sources.make(1, ...)]):
            pass

    running = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(sources.closed) == [0, 1]


async def test_a_slow_reader_is_not_run_ahead_of():
    sources = Sources()
    merger = merged([sources.make(0, *range(1000)), sources.make(1, *range(1000))])
    await anext(merger)
    await asyncio.sleep(0.01)
    assert sources.closed == []
    await merger.aclose()


async def test_every_event_has_its_index_and_only_the_last_end_all_the_usage():
    sources = Sources()
    events = [event async for event in side_by_side(chat_request(n=3, seed=5), sources.run)]
    assert sorted(event.index for event in events if isinstance(event, Delta)) == [0, 1, 2]
    assert all(event.content == str(event.index) for event in events if isinstance(event, Delta))
    *first, last = [event for event in events if isinstance(event, Finish)]
    assert [finish.usage for finish in first] == [None, None]
    assert last.usage == Usage(prompt_tokens=7, completion_tokens=6)
    assert [request.sampling.seed for request in sources.asked] == [5, 6, 7]
    assert {request.n for request in sources.asked} == {1}


async def test_a_single_answer_is_left_as_it_is():
    sources = Sources()
    request = chat_request()
    events = [event async for event in side_by_side(request, sources.run)]
    assert sources.asked == [request]
    assert events[-1].usage == Usage(prompt_tokens=7, completion_tokens=1)


@pytest.mark.parametrize(
    ("seed", "seeds"), [(None, [None, None]), (0, [0, 1]), (-1, [-1, -1]), (2**63 - 1, [2**63 - 1, 2**63 - 2])]
)
def test_each_answer_has_a_seed_of_its_own(seed, seeds):
    request = chat_request(n=2, seed=seed)
    assert [single(request, index).sampling.seed for index in (0, 1)] == seeds


def counted(prompt: int, completion: int, *, cached: int | None = None, thought: int | None = None) -> Usage:
    details: dict[str, Any] = {}
    if cached is not None:
        details["prompt_tokens_details"] = {"cached_tokens": cached}
    if thought is not None:
        details["completion_tokens_details"] = {"reasoning_tokens": thought}
    return Usage(prompt_tokens=prompt, completion_tokens=completion, details=details)


@pytest.mark.parametrize(
    ("usages", "whole"),
    [
        ([], None),
        ([None, None], None),
        ([counted(7, 3)], counted(7, 3)),
        ([counted(7, 3), None, counted(7, 4)], counted(7, 7)),
        ([counted(0, 3), counted(7, 4)], counted(7, 7)),
        ([counted(7, 3, cached=0, thought=1), counted(7, 4, cached=6, thought=2)], counted(7, 7, cached=0, thought=3)),
        ([counted(7, 3), counted(7, 4, cached=6, thought=2)], counted(7, 7, thought=2)),
    ],
)
def test_the_prompt_is_counted_once(usages, whole):
    assert total(usages) == whole


# --- through the whole door ----------------------------------------------------------------------------------


def chats(server) -> list[Any]:
    return [request.json for request in server.work_at("/api/chat")]


@pytest.mark.served
class TestN:
    def ask(self, served, **fields: Any):
        return served.client().chat.completions.create(**{"model": "llama3.2:3b", "messages": [HELLO]} | fields)

    def test_whole(self, served_ollama, ollama):
        for number in range(3):
            ollama.reply(Reply(content=f"Answer {number}", prompt_tokens=11, completion_tokens=2))
        answer = self.ask(served_ollama, n=3, seed=40)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert {choice.message.content for choice in answer.choices} == {"Answer 0", "Answer 1", "Answer 2"}
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 6)
        assert sorted(chat["options"]["seed"] for chat in chats(ollama)) == [40, 41, 42]

    def test_streamed(self, served_ollama, ollama):
        ollama.reply(Reply(content=["one", " two"], delay=0.05, prompt_tokens=11, completion_tokens=2))
        ollama.reply(Reply(content="x", tool_calls=[ToolCall(name="f")], prompt_tokens=11, completion_tokens=3))
        with served_ollama.client().chat.completions.stream(
            model="llama3.2:3b", messages=[HELLO], n=2, stream_options={"include_usage": True}
        ) as stream:
            chunks = [event.chunk for event in stream if event.type == "chunk"]
            answer = stream.get_final_completion()
        assert {choice.message.content for choice in answer.choices} == {"one two", "x"}
        assert sorted(choice.finish_reason for choice in answer.choices) == ["stop", "tool_calls"]
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (11, 5)
        assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
        assert len({chunk.id for chunk in chunks}) == 1

    def test_the_last_may_speak_first(self, served_ollama, ollama):
        """openai's reader of streams finds a choice by its place among those that began."""
        ollama.default_reply = lambda request: Reply(
            content=f"seed {request.json['options']['seed']}",
            first_delay=2 if request.json["options"]["seed"] == 40 else 0,
        )
        with served_ollama.client().chat.completions.stream(
            model="llama3.2:3b", messages=[HELLO], n=3, seed=40
        ) as stream:
            spoken = [event.chunk.choices[0] for event in stream if event.type == "chunk"]
            answer = stream.get_final_completion()
        assert [choice.message.content for choice in answer.choices] == ["seed 40", "seed 41", "seed 42"]
        assert next(one.index for one in spoken if one.delta.content) != 0

    @pytest.mark.parametrize("stream", [True, False])
    def test_one_that_fails_fails_the_whole(self, served_ollama, ollama, stream):
        ollama.reply(Reply(content=["a"] * 100, delay=0.05))
        ollama.reply(Reply(content=["a", "b"], error_after=1, error="CUDA error"))
        with pytest.raises(openai.APIError, match="CUDA error"):
            for _ in self.ask(served_ollama, n=2, stream=stream):
                pass
        assert ollama.work_at("/api/chat")[0].wait_closed()

    def test_a_client_that_leaves_stops_them_all(self, served_ollama, ollama):
        ollama.reply(Reply(content=["a"] * 400, delay=0.05), times=3)
        with self.ask(served_ollama, n=3, stream=True) as stream:
            seen = set()
            for chunk in stream:
                if chunk.choices[0].delta.content:
                    seen.add(chunk.choices[0].index)
                if len(seen) == 3:
                    break
        assert seen == {0, 1, 2}
        running = ollama.work_at("/api/chat")
        assert len(running) == 3
        assert all(request.wait_disconnected() for request in running)
