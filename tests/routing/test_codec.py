import time

import pytest

from routing.backends.codec import EventDecoder, LineSplitter, dumps, loads

# JSON


@pytest.mark.parametrize(
    "value",
    [
        {"text": "naïve 数据 🙂", "none": None, "flag": True, "zero": 0, "empty": "", "list": []},
        "\ud83d",
        "half an emoji: \ud83d and its other half \ude42",
        {"\udc00": "a key can be broken too"},
        "line\u2028and paragraph\u2029separators, \x00, \x7f and \x85",
        2**53 + 1,
        2**63 - 1,
        -(2**63),
        2**64 - 1,
        2**64,
        -(2**63) - 1,
        {"id": 123456789012345678901234567890, "also": [-(10**30), 1]},
        0.1,
        1e22,
    ],
    ids=ascii,
)
def test_every_value_survives_the_way_out_and_in(value):
    text = dumps(value)
    assert loads(text) == loads(text.decode()) == value
    assert type(loads(text)) is type(value)
    assert b"\n" not in text


def test_text_stays_readable_and_keys_keep_their_order():
    assert dumps({"b": "Grüße", "a": [1, 2]}) == '{"b":"Grüße","a":[1,2]}'.encode()


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"{'a': 1}", b'{"a": 1,}', b"nul", b'"\xff"', b'{"a": 1} x', b"[" * 100_000],
    ids=lambda text: ascii(text[:12]),
)
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        loads(text)


# Lines


def lines_of(*pieces: bytes) -> list[bytes]:
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.flush()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"one\ntwo\n", [b"one", b"two"]),
        (b"one\r\ntwo\r\n", [b"one", b"two"]),
        (b"one\rtwo\r", [b"one", b"two"]),
        (b"one\n\ntwo", [b"one", b"", b"two"]),
        (b"one\r\n\r\ntwo", [b"one", b"", b"two"]),
        (b"one\r\rtwo", [b"one", b"", b"two"]),
        (b"one\n\rtwo", [b"one", b"", b"two"]),
        (b"\n", [b""]),
        (b"\r\n", [b""]),
        (b"a\rb\nc\r\nd\r\r\n\n", [b"a", b"b", b"c", b"d", b"", b""]),
        (
            "ein U+2028 \u2028, U+2029 \u2029, U+0085 \x85\n".encode(),
            ["ein U+2028 \u2028, U+2029 \u2029, U+0085 \x85".encode()],
        ),
        (b"tab\x0bform\x0cfile\x1cgroup\x1drecord\x1e\n", [b"tab\x0bform\x0cfile\x1cgroup\x1drecord\x1e"]),
    ],
)
def test_lines_are_the_same_wherever_the_bytes_are_cut(data, lines):
    assert lines_of(data) == lines
    assert lines_of(*(data[place : place + 1] for place in range(len(data)))) == lines
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert lines_of(data[:first], data[first:second], b"", data[second:]) == lines


def test_a_line_is_given_out_as_soon_as_it_is_complete():
    splitter = LineSplitter()
    assert splitter.feed(b"half") == []
    assert splitter.feed(b" done\nnext\r") == [b"half done", b"next"]
    assert splitter.feed(b"\n") == []
    assert splitter.flush() == []


def test_what_was_flushed_is_not_given_out_again():
    splitter = LineSplitter()
    splitter.feed(b"rest")
    assert splitter.flush() == [b"rest"]
    assert splitter.flush() == []


def test_a_line_of_five_megabytes_in_small_pieces_is_one_line():
    line = b'{"message":{"content":"' + b"x" * 5_000_000 + b'"}}'
    stream = line + b"\nshort\n"
    started = time.process_time()
    lines = lines_of(*(stream[place : place + 4096] for place in range(0, len(stream), 4096)))
    assert lines == [line, b"short"]
    assert time.process_time() - started < 1


# Server-sent events


def events_of(*pieces: bytes) -> list[bytes]:
    splitter, decoder = LineSplitter(), EventDecoder()
    lines = (line for piece in pieces for line in splitter.feed(piece))
    return [event for line in lines if (event := decoder.feed(line)) is not None]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\n", [b"one"]),
        (b"data:one\n\n", [b"one"]),
        (b"data:  one\n\n", [b" one"]),
        (b"data: one\r\n\r\ndata: two\r\n\r\n", [b"one", b"two"]),
        (b"data: one\r\rdata: two\r\r", [b"one", b"two"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data: one\n\n\n\ndata: two\n\n", [b"one", b"two"]),
        (b": ping\n\ndata: one\n\n: ping\n", [b"one"]),
        (b"data: on\n: ping\ndata: e\n\n", [b"on\ne"]),
        (b":\n\n:\n\n", []),
        (b"event: message\nid: 7\nretry: 100\ndata: one\n\n", [b"one"]),
        (b"event: message\n\n", []),
        (b"database: no\n\n", []),
        (b"data: a: b\n\n", [b"a: b"]),
        (b"data\n\n", [b""]),
        (b"data:\ndata\n\n", [b"\n"]),
        (b"data: one", []),
        (b"data: one\n", []),
        ('data: {"a":"\u2028"}\n\n'.encode(), ['{"a":"\u2028"}'.encode()]),
    ],
)
def test_events_are_the_same_wherever_the_bytes_are_cut(stream, events):
    assert events_of(stream) == events
    assert events_of(*(stream[place : place + 1] for place in range(len(stream)))) == events
    for place in range(len(stream) + 1):
        assert events_of(stream[:place], stream[place:]) == events
