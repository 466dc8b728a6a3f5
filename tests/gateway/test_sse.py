"""What a stream of server-sent events looks like to a client."""

import json

import pytest

from gateway import sse
from routing.backends.codec import EventDecoder, LineSplitter


@pytest.mark.parametrize(
    "content", ["Hi", "two\nlines\r\n\r\n", "a\u2028b", "\ud83d", "data: [DONE]", "\x00", ""], ids=ascii
)
def test_an_event_is_one_line_of_json_that_any_parser_reads(content):
    chunk = {"choices": [{"index": 0, "delta": {"content": content}}]}
    stream = sse.HEARTBEAT + sse.data(chunk) + sse.HEARTBEAT + sse.DONE
    splitter, decoder = LineSplitter(), EventDecoder()
    events = [event for line in splitter.feed(stream) if (event := decoder.feed(line)) is not None]
    assert len(events) == 2
    assert json.loads(events[0])["choices"][0]["delta"] == {"content": content}
    assert events[1] == b"[DONE]"
    assert sse.data(chunk).startswith(b"data: {")
    assert sse.data(chunk).endswith(b"}\n\n")
    assert sse.data(chunk).count(b"\n") == 2
    assert b"\r" not in sse.data(chunk)


def test_a_heartbeat_is_a_comment():
    assert sse.HEARTBEAT.startswith(b":")
    assert sse.HEARTBEAT.endswith(b"\n\n")


def test_no_proxy_may_hold_the_stream_back():
    assert sse.HEADERS["Content-Type"].startswith("text/event-stream")
    assert sse.HEADERS["Cache-Control"] == "no-cache"
    assert sse.HEADERS["X-Accel-Buffering"] == "no"
