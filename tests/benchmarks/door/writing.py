"""Bytes in and out: the body of a chat read, its answer written whole and in chunks."""

import json
from functools import partial
from typing import Any

from gateway import sse
from gateway.chatanswer import ChunkWriter, Completion, Head
from gateway.chatrequest import parse_chat
from routing.backends import codec
from routing.backends.protocol import Delta
from tests.benchmarks.door.ending import EVENTS
from tests.benchmarks.door.installation import chat, prose
from tests.benchmarks.door.report import COLUMNS
from tests.benchmarks.door.timing import Part, Variant
from tests.requests import tool

HEAD = Head(id="chatcmpl-" + "0" * 32, created=1_700_000_000, model="general")
TOOLS = 40


def with_tools(kilobytes: int) -> bytes:
    """Return a body of about so many kB: a conversation with as many tools as an agent of a busy office has."""
    half = kilobytes * 512
    described = [tool(f"tool_{number}", description=prose(half // TOOLS)) for number in range(TOOLS)]
    turns = [{"role": role, "content": prose(half // 40)} for _ in range(20) for role in ("user", "assistant")]
    return json.dumps({"model": "auto", "messages": turns, "tools": described}).encode()


def parsing() -> Part:
    bodies = {
        "1 kB": chat(prose(1024)),
        "20 kB": chat(prose(20 * 1024)),
        f"200 kB with {TOOLS} tools": with_tools(200),
    }
    variants = []
    for name, body in bodies.items():
        bare = f"{name}: JSON alone"
        variants += [
            Variant(name=bare, work=partial(codec.loads, body), beside=bare),
            Variant(
                name=name,
                work=partial(parse_chat, body),
                beside=bare,
                columns=COLUMNS if body is bodies["1 kB"] else (),
            ),
        ]
    return Part(name="body", note="of a chat, into the request that it is", variants=tuple(variants))


def answering() -> Part:
    delta = Delta(content=" word")
    writer = ChunkWriter(HEAD, include_usage=False)
    list(writer.write(delta))  # the first is preceded by an opening
    (chunk,) = writer.write(delta)

    def written() -> bytes:
        return b"".join(sse.data(one) for one in writer.write(delta))

    def whole() -> bytes:
        completion = Completion()
        for event in EVENTS:
            completion.add(event)
        return codec.dumps(completion.whole(HEAD))

    return Part(
        name="answer",
        note="a chunk of a stream, or a small answer that is collected, into bytes",
        variants=(
            Variant(name="a chunk: JSON alone", work=partial(_dumped, chunk)),
            Variant(name="a chunk", work=written),
            Variant(name="a whole answer", work=whole, beside="a whole answer", columns=COLUMNS),
        ),
    )


def _dumped(value: Any) -> bytes:
    return codec.dumps(value)
