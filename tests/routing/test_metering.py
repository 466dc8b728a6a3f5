"""What a call took: by the server's own count, or else as far as it is known."""

import asyncio

import pytest

from routing.backends.embeddings import Embeddings
from routing.backends.protocol import Delta, Finish, ServerAddress, ServerKind, ToolCallDelta, Usage
from routing.catalog import Expert, Replica
from routing.exceptions import Unreachable, UpstreamFailed, UpstreamTimedOut
from routing.metering import NOTHING, Took, begin_metering, called, helping, tokens_in

BOX = Replica(
    server=ServerAddress(name="box", kind=ServerKind.OLLAMA, base_url="http://box"), embedded=False, model="m"
)
CODE = Expert(slug="code", replicas=(BOX,))


def call(*events, failure=None, begins=True):
    made = called(CODE, BOX)
    made.expects = lambda: 50
    if begins:
        made.begin()
    for event in events:
        made.note(event)
    if failure:
        made.end(failure)
    return made


def finish(**usage):
    return Finish(reason="stop", usage=Usage(**usage))


PIECES = (Delta(content="a"), Delta(content="b"), Delta(reasoning="c"))
ESTIMATED = Took(prompt=50, completion=3, thinking=1, is_estimated=True)


@pytest.mark.parametrize(
    ("made", "took"),
    [
        (call(*PIECES, finish(prompt_tokens=9, completion_tokens=4)), Took(prompt=9, completion=4, thinking=1)),
        (call(Embeddings(vectors=(), prompt_tokens=9)), Took(prompt=9)),
        (call(*PIECES), ESTIMATED),
        (call(*PIECES, Finish(reason="stop")), ESTIMATED),
        (call(), Took(prompt=50, is_estimated=True)),
        (call(begins=False), NOTHING),
        (call(failure=UpstreamFailed("500")), NOTHING),
        (call(failure=Unreachable("gone")), NOTHING),
        (call(failure=UpstreamTimedOut("silent")), Took(prompt=50, is_estimated=True)),
        (call(*PIECES, failure=UpstreamFailed("broke off")), ESTIMATED),
    ],
    ids=[
        "counted",
        "vectors",
        "left",
        "a server that does not count",
        "left while it was silent",
        "never asked",
        "refused",
        "not there",
        "too slow",
        "broke off",
    ],
)
def test_what_it_took(made, took):
    assert made.took == took


def test_a_server_that_counts_thoughts_is_believed():
    details = {"completion_tokens_details": {"reasoning_tokens": 3}}
    made = call(*PIECES, finish(prompt_tokens=9, completion_tokens=4, details=details))
    assert made.took.thinking == 3


def test_calls_of_tools_are_written_too():
    tool = ToolCallDelta(index=0, id="1", name="weather", arguments='{"city": "Oslo"}')
    assert call(Delta(tool_calls=(tool,))).took.completion == 2


@pytest.mark.parametrize(("piece", "tokens"), [("", 0), (" ", 1), (" internationalization", 1), ("word " * 40, 52)])
def test_a_piece_is_a_token_unless_it_is_longer_than_any(piece, tokens):
    assert tokens_in(piece) == tokens


async def test_calls_are_noted_in_the_meter_of_their_request_wherever_they_are_made():
    async def request(name, pause):
        meter = begin_metering()
        called(CODE, BOX)

        async def helper():
            with helping(name):
                await asyncio.sleep(pause)
                await asyncio.to_thread(called, CODE, BOX)

        await asyncio.create_task(helper())
        return meter

    meters = await asyncio.gather(request("a", 0.02), request("b", 0.01))
    assert [[one.purpose for one in meter.calls] for meter in meters] == [["", "a"], ["", "b"]]
    assert [len(meter.of()) for meter in meters] == [1, 1]
