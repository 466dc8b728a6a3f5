"""What reaches an OpenAI-compatible server (llama.cpp, vLLM and others), and what its events mean to a client."""

import itertools
import json
from typing import Any

import pytest

from routing.backends import openai
from routing.backends.codec import LineSplitter
from routing.backends.protocol import ChatEvent, Delta, Finish, ToolCallDelta, Usage
from routing.exceptions import BadRequest, ContextLengthExceeded, UpstreamFailed
from tests.requests import HELLO, chat_call, image, text, tool, tool_turn

FUNCTION = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": {"type": "object"}}}


def sent(**fields: Any) -> dict[str, Any]:
    return openai.chat_payload(chat_call(**fields))


def sent_message(*messages: dict[str, Any]) -> dict[str, Any]:
    """Return the last of ``messages`` as the server gets it."""
    return sent(messages=list(messages))["messages"][-1]


# --- a call -----------------------------------------------------------------------------------------------

ALWAYS_SENT = {
    "model": "llama3.2:3b",
    "messages": [HELLO],
    "stream": True,
    "stream_options": {"include_usage": True},  # every answer is accounted, asked for or not
}


@pytest.mark.parametrize("asked", [{}, {"stream": False}, {"stream": True, "stream_options": {"include_usage": False}}])
def test_a_plain_request_carries_nothing_the_client_did_not_ask_for(asked):
    assert sent(**asked) == ALWAYS_SENT


@pytest.mark.parametrize(
    ("asked", "wire"),
    [
        ({"temperature": 0, "top_p": 0.5, "seed": 0}, {"temperature": 0, "top_p": 0.5, "seed": 0}),
        ({"presence_penalty": 0, "frequency_penalty": 0}, {"presence_penalty": 0, "frequency_penalty": 0}),
        ({"temperature": None, "tools": None, "stop": None}, {}),
        ({"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_completion_tokens": 10, "max_tokens": 20}, {"max_tokens": 10}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"response_format": SCHEMA_FORMAT}, {"response_format": SCHEMA_FORMAT}),
        ({"reasoning_effort": "xhigh"}, {"reasoning_effort": "xhigh"}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ({"top_k": 1, "min_p": 0}, {"top_k": 1, "min_p": 0}),
        ({"num_keep": 5, "options": {"num_predict": -1}}, {"n_keep": 5, "max_tokens": -1}),
        ({"options": {"top_k": 1, "temperature": 0.1}, "temperature": 0.9}, {"top_k": 1, "temperature": 0.9}),
        ({"options": {"num_predict": 10, "stop": ["a"], "seed": 0}}, {"max_tokens": 10, "stop": ["a"], "seed": 0}),
        ({"tools": [tool()]}, {"tools": [tool()]}),
        ({"tools": [tool()], "tool_choice": "none"}, {"tools": [tool()], "tool_choice": "none"}),
        ({"tools": [tool()], "tool_choice": FUNCTION}, {"tools": [tool()], "tool_choice": FUNCTION}),
        (
            {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        # Servers refuse these two when there are no tools.
        ({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
    ],
    ids=str,
)
def test_what_the_client_sent_reaches_the_server(asked, wire):
    assert sent(**asked) == ALWAYS_SENT | wire


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"num_ctx": 8192}, "num_ctx"),
        ({"options": {"num_ctx": 8192}}, "num_ctx"),
        ({"keep_alive": "5m"}, "keep_alive"),
    ],
)
def test_ollamas_extensions_are_refused_rather_than_dropped(asked, param):
    with pytest.raises(BadRequest, match="Leave it out") as caught:
        sent(**asked)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


@pytest.mark.parametrize(
    ("asked", "wire"),
    [
        ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"reasoning_effort": "none"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"think": True}, {"chat_template_kwargs": {"enable_thinking": True}}),
        ({"think": "low"}, {"reasoning_effort": "low"}),
        ({"think": "low", "reasoning_effort": "high"}, {"reasoning_effort": "low"}),
        ({"think": False, "reasoning_effort": "high"}, {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
    ids=str,
)
def test_thinking_is_switched_as_llama_cpp_and_vllm_do(asked, wire):
    assert sent(**asked) == sent(capabilities=("completion", "thinking"), **asked) == ALWAYS_SENT | wire


def test_a_model_that_cannot_think_is_not_told_to_stop_and_cannot_be_made_to():
    assert sent(capabilities=("completion",), think=False) == ALWAYS_SENT
    with pytest.raises(BadRequest) as caught:
        sent(capabilities=("completion",), reasoning_effort="low")
    assert caught.value.param == "reasoning_effort"


def test_verbosity_is_said_in_words():
    system, question = sent(verbosity="high")["messages"]
    assert (system["role"], question) == ("system", HELLO)


def test_a_gif_passes():
    url = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    assert sent_message({"role": "user", "content": [image(url)]})["content"] == [image(url)]


@pytest.mark.parametrize("name", ["model", "messages", "stream", "stream_options"])
def test_options_cannot_replace_what_the_router_decided(name):
    """Otherwise a client could ask a server for any model on it, or stop the stream that we read."""
    assert sent(options={name: "replaced"})[name] == ALWAYS_SENT[name]


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "user", "content": "Hi", "name": "Ada"}, {"role": "user", "content": "Hi", "name": "Ada"}),
        ({"role": "user", "content": [text("one, "), text("two")]}, {"role": "user", "content": "one, two"}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": None}),
        ({"role": "assistant", "content": ""}, {"role": "assistant", "content": ""}),
        ({"role": "assistant", "content": "Hi", "weight": 0}, {"role": "assistant", "content": "Hi", "weight": 0}),
        (
            {"role": "assistant", "content": "4", "reasoning": "2+2"},
            {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
        ),
        (
            {"role": "tool", "content": [text("18 "), text("degrees")], "tool_call_id": "a"},
            {"role": "tool", "content": "18 degrees", "tool_call_id": "a"},
        ),
        (
            {"role": "user", "content": [text("This?"), image("data:image/webp;base64,AAAA", detail="high")]},
            {"role": "user", "content": [text("This?"), image("data:image/webp;base64,AAAA", detail="high")]},
        ),
        (
            {"role": "user", "content": [image("data:;base64,AAAA")]},
            {"role": "user", "content": [image("data:image/png;base64,AAAA")]},
        ),
        (tool_turn(("a", "f", '{"x":1}')), tool_turn(("a", "f", '{"x":1}'))),
        (tool_turn(("a", "f", {"x": 1})), tool_turn(("a", "f", '{"x":1}'))),
        (tool_turn(("a", "f", "")), tool_turn(("a", "f", "{}"))),
    ],
    ids=str,
)
def test_messages_arrive_as_every_server_reads_them(message, wire):
    assert sent_message(message) == wire


def test_arguments_of_past_calls_keep_their_text():
    """A server's prompt cache holds them as the model wrote them."""
    arguments = '{ "b": 1.0,  "a": 12345678901234567890123 }'
    message = sent_message(tool_turn(("call_1", "f", arguments)))
    assert message["tool_calls"][0]["function"]["arguments"] == arguments


# --- an answer --------------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
COUNTED = Usage(prompt_tokens=7, completion_tokens=3)
DONE = "[DONE]"


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **choice: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": reason} | choice],
    }


def fragment(index: int | None, arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk with a piece of one tool call; ``fields`` are its id and name."""
    function = {name: fields.pop(name) for name in ("name",) if name in fields}
    call = fields | {"function": function | ({} if arguments is None else {"arguments": arguments})}
    return chunk({"tool_calls": [call if index is None else {"index": index} | call]})


def new_stream() -> openai.ChatStream:
    numbers = itertools.count(1)
    return openai.ChatStream(new_id=lambda: f"call_new{next(numbers)}")


def read_bytes(*pieces: bytes) -> list[ChatEvent]:
    splitter, stream = LineSplitter(), new_stream()
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()
    return [event for line in lines for event in stream.feed(line)]


def written(*values: Any) -> bytes:
    """Return an SSE stream of chunks, or of texts as they are."""
    texts = (value if isinstance(value, str) else json.dumps(value) for value in values)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def read(*values: Any) -> list[ChatEvent]:
    return read_bytes(written(*values))


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        (
            [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), chunk({"content": "!"})],
            [Delta(content="Hi"), Delta(content="!")],
        ),
        ([chunk({"role": "assistant", "content": None}), chunk({"content": "Hi"})], [Delta(content="Hi")]),
        ([chunk({"content": "0"}), chunk({"content": " "})], [Delta(content="0"), Delta(content=" ")]),
        ([chunk({"reasoning_content": "Hm"}), chunk({"content": "4"})], [Delta(reasoning="Hm"), Delta(content="4")]),
        ([chunk({"reasoning": "Hm"}), chunk({"content": "4"})], [Delta(reasoning="Hm"), Delta(content="4")]),
        ([chunk({"reasoning": "Hm", "reasoning_content": "Hm"})], [Delta(reasoning="Hm")]),
        ([chunk({"content": "a"}), chunk({"content": "b"}, index=1)], [Delta(content="a")]),
        ([{"choices": [], "prompt_filter_results": []}, chunk({"content": "a"})], [Delta(content="a")]),
        ([chunk({"content": "a"}) | {"timings": {"predicted_n": 1}, "error": None}], [Delta(content="a")]),
        (
            [chunk({"content": "\ud83d"}), chunk({"content": "\ude42"})],
            [Delta(content="\ud83d"), Delta(content="\ude42")],
        ),
    ],
    ids=[
        "role first",
        "null content",
        "falsy pieces",
        "reasoning_content",
        "reasoning",
        "both names",
        "second choice",
        "empty choices",
        "unknown fields",
        "half emojis",
    ],
)
def test_chunks_become_pieces(chunks, events):
    assert read(*chunks, chunk(reason="stop"), DONE) == [*events, Finish(reason="stop")]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "x"}), chunk(reason="stop"), {"choices": [], "usage": USAGE}],
        [chunk({"content": "x"}), chunk(reason="stop") | {"usage": USAGE}],
        [chunk({"content": "x"}, reason="stop") | {"usage": USAGE}],
        [chunk({"content": "x"}) | {"usage": None}, chunk(reason="stop"), {"choices": [], "usage": USAGE}],
        [
            chunk({"content": "x"}) | {"usage": {"prompt_tokens": 7, "completion_tokens": 1}},
            chunk(reason="stop") | {"usage": USAGE},
        ],
        [chunk({"content": "x"}), chunk(reason="stop"), {"choices": None, "usage": USAGE}],
    ],
    ids=["trailer", "with the reason", "all in one", "null before", "running counts", "null choices"],
)
def test_usage_is_read_wherever_the_server_puts_it(chunks):
    assert read(*chunks, DONE) == [Delta(content="x"), Finish(reason="stop", usage=COUNTED)]


def test_the_servers_finer_counts_are_kept():
    details = {"prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}}
    [finish] = read(chunk(reason="stop"), {"choices": [], "usage": USAGE | details}, DONE)
    assert finish == Finish(reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=3, details=details))


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_the_servers_reason_is_told(reason):
    assert read(chunk({"content": "x"}), chunk(reason=reason), DONE)[-1] == Finish(reason=reason)


@pytest.mark.parametrize(
    ("reason", "told"), [("tool_calls", "tool_calls"), ("stop", "tool_calls"), ("length", "length")]
)
def test_an_answer_that_called_a_tool_ends_with_tool_calls_unless_it_was_cut(reason, told):
    assert read(fragment(0, "{}", id="a", name="f"), chunk(reason=reason), DONE)[-1] == Finish(reason=told)


def test_log_probabilities_pass_as_they_are():
    logprobs = [{"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]
    events = read(
        chunk({"content": "Hi"}, logprobs={"content": logprobs}),
        chunk({"content": "!"}, logprobs=None),
        chunk({"content": ""}, logprobs={"content": logprobs, "refusal": None}),
        chunk({}, logprobs={"content": None}),
        chunk(reason="stop"),
        DONE,
    )
    assert events == [
        Delta(content="Hi", logprobs=tuple(logprobs)),
        Delta(content="!"),
        Delta(logprobs=tuple(logprobs)),
        Finish(reason="stop"),
    ]


# Tool calls


def calls(*chunks: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of each call, put together as the SDKs do: by index, joining what repeats."""
    joined: dict[int, list[str]] = {}
    for event in read(*chunks, chunk(reason="tool_calls"), DONE):
        for piece in event.tool_calls if isinstance(event, Delta) else ():
            call = joined.setdefault(piece.index, ["", "", ""])
            for place, value in enumerate((piece.id, piece.name, piece.arguments)):
                call[place] += value or ""
    assert list(joined) == list(range(len(joined))), "the SDKs need indices that count from 0 without a gap"
    return [(call[0], call[1], call[2]) for call in joined.values()]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([fragment(0, '{"x":1}', id="a", name="f")], [("a", "f", '{"x":1}')]),
        (
            [fragment(0, "", id="a", name="f"), fragment(0, '{"x"'), fragment(0, ":1}")],
            [("a", "f", '{"x":1}')],
        ),
        (
            [fragment(0, None, id="a", name="f"), fragment(0, "{}")],
            [("a", "f", "{}")],
        ),
        (
            [fragment(0, "{", id="a", name="f"), fragment(0, "}", id="a", name="f")],
            [("a", "f", "{}")],
        ),
        (
            [fragment(0, "{", id="a", name="f"), fragment(0, "}", id=None, name=None)],
            [("a", "f", "{}")],
        ),
        (
            [fragment(0, "{}", id="a", name="f"), fragment(1, "{}", id="b", name="g")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        (
            [
                fragment(0, "{", id="a", name="f"),
                fragment(1, "[", id="b", name="g"),
                fragment(0, "}"),
                fragment(1, "]"),
            ],
            [("a", "f", "{}"), ("b", "g", "[]")],
        ),
        (
            [fragment(1, "{}", id="a", name="f"), fragment(4, "{}", id="b", name="g")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([fragment(0, "{}", id="", name="f")], [("call_new1", "f", "{}")]),
        (
            [fragment(0, "{}", name="f"), fragment(1, "{}", name="g")],
            [("call_new1", "f", "{}"), ("call_new2", "g", "{}")],
        ),
        (
            [fragment(None, "{}", id="a", name="f"), fragment(None, "{}", id="b", name="g")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([fragment(None, "{", id="a", name="f"), fragment(None, "}")], [("a", "f", "{}")]),
        (
            [fragment(None, "{}", name="f"), fragment(None, "{}", name="g")],
            [("call_new1", "f", "{}"), ("call_new2", "g", "{}")],
        ),
        # Older vLLM makes an id for each fragment (the default of its DeltaToolCall).
        ([fragment(0, "{", id="a", name="f"), fragment(0, "}", id="b")], [("a", "f", "{}")]),
        (
            [fragment(0, '{"x":1}', id="a", name="f"), fragment(0, '{"y":2}', id="b", name="g")],
            [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')],
        ),
    ],
    ids=[
        "whole",
        "fragments",
        "name first",
        "id and name repeated",
        "id and name null",
        "two",
        "interleaved",
        "gaps",
        "empty id",
        "no ids",
        "no indices",
        "no index, fragments",
        "neither indices nor ids",
        "an id for each fragment",
        "all numbered 0",
    ],
)
def test_clients_can_put_calls_together_whatever_the_server_numbers(chunks, expected):
    assert calls(*chunks) == expected


def test_two_calls_in_one_chunk_stay_two():
    wire = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert read(chunk({"content": None, "tool_calls": wire}), chunk(reason="tool_calls"), DONE)[0] == Delta(
        tool_calls=(
            ToolCallDelta(index=0, id="a", name="f", arguments="{}"),
            ToolCallDelta(index=1, id="b", name="g", arguments="{}"),
        )
    )


# The stream itself


ANSWER = [Delta(content="Hi"), Finish(reason="stop", usage=COUNTED)]
HI, STOP = json.dumps(chunk({"content": "Hi"})), json.dumps(chunk(reason="stop") | {"usage": USAGE})


@pytest.mark.parametrize(
    "stream",
    [
        f"data: {HI}\n\ndata: {STOP}\n\ndata: [DONE]\n\n",
        f"data: {HI}\r\n\r\ndata: {STOP}\r\n\r\ndata: [DONE]\r\n\r\n",
        f"data: {HI}\r\rdata: {STOP}\r\rdata: [DONE]\r\r",
        f"data:{HI}\n\ndata:{STOP}\n\ndata:[DONE]\n\n",
        f": ping\n\n:\n\ndata: {HI}\n: ping\n\ndata: {STOP}\n\n: ping\ndata: [DONE]\n\n",
        f"id: 1\nevent: message\ndata: {HI}\n\nretry: 5\ndata: {STOP}\n\ndata: [DONE] \n\n",
        "".join(f"data: {line}\n" for line in json.dumps(json.loads(HI), indent=1).splitlines())
        + f"\ndata: {STOP}\n\ndata: [DONE]\n\n",
        f"data: {HI}\n\ndata: {STOP}\n\ndata: [DONE]\n\ndata: {HI}\n\ndata: [DONE]\n\n",
    ],
    ids=["LF", "CRLF", "CR", "no space", "comments", "other fields", "data over several lines", "after the end"],
)
def test_every_form_of_sse_gives_the_same_answer(stream):
    assert read_bytes(stream.encode()) == ANSWER


def test_the_events_are_the_same_wherever_the_bytes_are_cut():
    text = json.dumps(chunk({"content": "a\u2028b\u0085 \ud83d 数"}), ensure_ascii=False).replace("\ud83d", "\\ud83d")
    stream = f": ping\r\n\r\ndata: {text}\r\n\r\ndata: {STOP}\n\ndata: [DONE]\n\n".encode()
    expected = [Delta(content="a\u2028b\u0085 \ud83d 数"), ANSWER[-1]]
    assert read_bytes(*(stream[place : place + 1] for place in range(len(stream)))) == expected
    for place in range(len(stream) + 1):
        assert read_bytes(stream[:place], stream[place:]) == expected


def test_the_answer_is_done_only_at_the_end_mark():
    """Usage may come after the reason to finish."""
    stream = new_stream()
    for line in written(chunk({"content": "x"}), chunk(reason="stop"), {"choices": [], "usage": USAGE}).splitlines():
        stream.feed(line)
        assert not stream.done
    for line in written(DONE).splitlines():
        stream.feed(line)
    assert stream.done


def test_an_end_without_a_reason_is_a_failure():
    """The SDKs would take the shortened answer for a whole one."""
    with pytest.raises(UpstreamFailed):
        read(chunk({"content": "x"}), DONE)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ({"code": 500, "message": "it broke", "type": "server_error"}, "it broke"),
        ({"message": "it broke", "type": "server_error", "param": None, "code": "x"}, "it broke"),
        ("it broke", "it broke"),
        (json.dumps({"error": {"message": "it broke"}}), "it broke"),
        ({"code": 500}, "no reason given"),
    ],
    ids=str,
)
def test_an_error_event_is_a_failure_in_plain_words(error, words):
    with pytest.raises(UpstreamFailed) as caught:
        read(chunk({"content": "Hel"}), {"error": error})
    assert caught.value.message == f"The model server stopped with an error: {words}"
    assert caught.value.code == "upstream_error"


def test_a_prompt_that_does_not_fit_is_told_as_such_though_the_status_was_200():
    """Clients shorten their history on this code (llama.cpp#14566 for the way it is sent)."""
    error = {
        "code": 400,
        "message": "the request exceeds the available context size",
        "type": "exceed_context_size_error",
    }
    with pytest.raises(ContextLengthExceeded):
        read({"error": error})


@pytest.mark.parametrize("broken", ["<html>", '{"choices": [', "[1]", '"text"', "null", ""])
def test_an_event_that_is_no_object_is_a_failure(broken):
    with pytest.raises(UpstreamFailed, match=r"not (a )?JSON"):
        read(broken)
