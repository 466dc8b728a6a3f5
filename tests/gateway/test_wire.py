"""What clients may send, what they are told when it is wrong, and what they get."""

import json
from typing import Any

import pytest

from gateway import sse
from gateway.wire import ChunkWriter, Completion, Head, model_object, parse_chat
from routing.backends.codec import EventDecoder, LineSplitter
from routing.backends.protocol import ChatEvent, Delta, Finish, Image, Text, ToolCall, ToolCallDelta, Usage
from routing.exceptions import BadRequest
from tests.requests import HELLO, chat_body, chat_request, image, text, tool, tool_turn

# --- in: what is accepted -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name", "value"),
    [
        ({}, "stream", False),
        ({"stream": None}, "stream", False),
        ({"stream": True}, "stream", True),
        ({}, "include_usage", False),
        ({"stream_options": None}, "include_usage", False),
        ({"stream_options": {}}, "include_usage", False),
        ({"stream_options": {"include_usage": True}}, "include_usage", True),
        ({"model": " code "}, "model", "code"),
        ({"model": "hf.co/some/model:Q4_K_M"}, "model", "hf.co/some/model:Q4_K_M"),
        ({"reasoning": None, "reasoning_effort": None}, "reasoning_effort", None),
        ({"tools": None}, "tools", ()),
        ({"tools": []}, "tools", ()),
        ({"tool_choice": "none"}, "tool_choice", "none"),
        ({"tool_choice": "auto"}, "tool_choice", "auto"),
        ({"keep_alive": 0}, "keep_alive", 0),
        ({"options": None}, "options", {}),
    ],
    ids=str,
)
def test_null_and_absent_mean_the_same(asked, name, value):
    assert getattr(chat_request(**asked), name) == value


@pytest.mark.parametrize(
    "asked",
    [
        {"user": "me", "store": True, "service_tier": "auto", "safety_identifier": "x"},
        {"some_future_parameter": {"any": ["thing"]}},
        {"logit_bias": {}, "functions": [], "function_call": None, "audio": None, "web_search_options": None},
        {"n": 1, "modalities": ["text"]},
        {"n": None, "modalities": None},
        {"stream_options": {"include_usage": False, "include_obfuscation": False}},
    ],
    ids=str,
)
def test_what_changes_nothing_is_ignored(asked):
    """Nearly every compatible server does, and clients depend on it."""
    assert chat_request(**asked) == chat_request()


def test_the_body_may_hold_half_an_emoji_and_start_with_a_byte_order_mark():
    request = parse_chat(b'\xef\xbb\xbf{"model":"auto","messages":[{"role":"user","content":"\\ud83d"}]}')
    assert request.messages[0].text == "\ud83d"


def test_a_history_with_tools_images_and_reasoning_is_read():
    question = {"role": "user", "content": [text("What is "), image("data:image/png;base64,AAAA", detail="low")]}
    call = tool_turn(("call_1", "look", {"deep": True})) | {"reasoning_content": "I should look."}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "A cat", "custom": 1}
    asked, called, answered = chat_request(messages=[question, call, result], tools=[tool("look")]).messages
    assert asked.parts == (Text(text="What is "), Image(data="AAAA", mime="image/png", detail="low"))
    assert called.tool_calls == (ToolCall(id="call_1", name="look", arguments='{"deep":true}'),)
    assert called.reasoning == "I should look."
    assert (answered.tool_call_id, answered.text, answered.extra) == ("call_1", "A cat", {"custom": 1})


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_every_role_of_openai_is_accepted(role):
    assert chat_request(messages=[{"role": role, "content": "x"}]).messages[0].role == role


# --- in: what is refused ------------------------------------------------------------------------------------


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def calling(**call: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("wrong", "param", "advice"),
    [
        ({"model": None}, "model", "Send 'auto', or a name that GET /v1/models lists"),
        ({"model": ""}, "model", "Send 'auto'"),
        ({"model": "  "}, "model", "Send 'auto'"),
        ({"model": 5}, "model", "must be the name of a model"),
        ({"messages": None}, "messages", "Send at least one"),
        ({"messages": []}, "messages", "Send at least one"),
        ({"messages": "Hello"}, "messages", "must be a list"),
        ({"messages": HELLO}, "messages", "must be a list"),
        ({"messages": ["Hello"]}, "messages[0]", "must be an object with 'role' and 'content'"),
        ({"messages": [HELLO, None]}, "messages[1]", "must be an object"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "must be one of system, developer, user"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "must be one of"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role", "must be one of"),
        ({"messages": [HELLO, {"role": "user"}]}, "messages[1].content", "is missing"),
        ({"messages": [{"role": "tool", "content": None}]}, "messages[0].content", "is missing"),
        (user(7), "messages[0].content", "must be a text or a list of parts"),
        (user({"type": "text", "text": "x"}), "messages[0].content", "must be a text or a list of parts"),
        (user(["x"]), "messages[0].content[0]", "must be a part of type text or image_url"),
        (user([text("x"), {"type": "video"}]), "messages[0].content[1]", "must be a part of type text or image_url"),
        (user([{"type": ["text"]}]), "messages[0].content[0]", "must be a part of type text"),
        (user([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0]", "must be a part of type text"),
        (user([{"type": "text"}]), "messages[0].content[0]", "must be a text"),
        (user([{"type": "text", "text": None}]), "messages[0].content[0]", "must be a text"),
        (user([{"type": "image_url"}]), "messages[0].content[0]", "must be a data URI"),
        (user([image("ftp://example.org/cat.png")]), "messages[0].content[0]", "or an http(s) URL to fetch it from"),
        (user([image("https://" + "x" * 9000)]), "messages[0].content[0]", "must hold the image itself"),
        (user([image("iVBORw0KGgo=")]), "messages[0].content[0]", "must hold the image itself, as data:image/png"),
        (user([image("data:image/png,x")]), "messages[0].content[0]", "must hold the image itself"),
        ({"messages": [HELLO | {"name": 5}]}, "messages[0].name", "must be a text"),
        ({"messages": [HELLO | {"tool_call_id": 5}]}, "messages[0].tool_call_id", "must be a text"),
        ({"messages": [HELLO | {"tool_calls": {}}]}, "messages[0].tool_calls", "must be a list"),
        (calling(id="a"), "messages[0].tool_calls[0]", "must hold a function with a name"),
        (calling(function={"arguments": "{}"}), "messages[0].tool_calls[0]", "must hold a function with a name"),
        (
            calling(function={"name": "f", "arguments": '{"x": '}),
            "messages[0].tool_calls[0].function.arguments",
            "must be the JSON text of an object",
        ),
        (
            calling(function={"name": "f", "arguments": '{"a":1}{"b":2}'}),
            "messages[0].tool_calls[0].function.arguments",
            "must be the JSON text of an object",
        ),
        (
            calling(function={"name": "f", "arguments": "[1]"}),
            "messages[0].tool_calls[0].function.arguments",
            "must be the JSON text of an object",
        ),
        (
            calling(function={"name": "f", "arguments": 7}),
            "messages[0].tool_calls[0].function.arguments",
            "must be the JSON text of an object",
        ),
        (
            calling(function={"name": "f", "arguments": DEEP}),
            "messages[0].tool_calls[0].function.arguments",
            "must be the JSON text of an object",
        ),
        ({"stream": "true"}, "stream", "must be true or false"),
        ({"stream": 1}, "stream", "must be true or false"),
        ({"stream_options": True}, "stream_options", "must be an object"),
        ({"temperature": "0.7"}, "temperature", "must be a number from 0 to 2"),
        ({"temperature": True}, "temperature", "must be a number from 0 to 2"),
        ({"temperature": 2.1}, "temperature", "must be a number from 0 to 2"),
        ({"temperature": -0.1}, "temperature", "must be a number from 0 to 2"),
        ({"temperature": float("nan")}, "temperature", "must be a number from 0 to 2"),
        ({"top_p": 1.5}, "top_p", "must be a number from 0 to 1"),
        ({"presence_penalty": 3}, "presence_penalty", "must be a number from -2 to 2"),
        ({"frequency_penalty": -3}, "frequency_penalty", "must be a number from -2 to 2"),
        ({"max_tokens": 0}, "max_tokens", "must be a whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens", "must be a whole number"),
        ({"max_completion_tokens": "10"}, "max_completion_tokens", "must be a whole number"),
        ({"seed": 0.5}, "seed", "must be a whole number"),
        ({"seed": 2**64}, "seed", "must be a whole number"),
        ({"seed": float("inf")}, "seed", "must be a whole number"),
        ({"stop": 5}, "stop", "must be a text or a list of texts"),
        ({"stop": ["a", 5]}, "stop", "must be a text or a list of texts"),
        ({"stop": ["a", None]}, "stop", "must be a text or a list of texts"),
        ({"stop": ""}, "stop", "none of them empty"),
        ({"n": 0}, "n", "must be a whole number from 1 to 16"),
        ({"n": 17}, "n", "must be a whole number from 1 to 16"),
        ({"n": 1.5}, "n", "must be a whole number from 1 to 16"),
        ({"n": "1"}, "n", "must be a whole number from 1"),
        ({"modalities": ["text", "audio"]}, "modalities", "Only the modality 'text' is supported"),
        ({"modalities": "text"}, "modalities", "must be a list"),
        ({"modalities": [["text"]]}, "modalities", "Only the modality 'text' is supported"),
        ({"logit_bias": {"50256": -100}}, "logit_bias", "is not supported"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "is not supported"),
        ({"functions": [{"name": "f"}]}, "functions", "use 'tools' instead"),
        ({"function_call": "auto"}, "function_call", "use 'tool_choice' instead"),
        ({"web_search_options": {"user_location": None}}, "web_search_options", "is not supported"),
        ({"response_format": "json"}, "response_format", "must be an object"),
        ({"response_format": {}}, "response_format", "must be text, json_object or json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format", "must be text, json_object or json_schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "must be a JSON Schema object"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format",
            "'response_format.json_schema.schema' must be a JSON Schema object",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": []}}, "response_format", "must be a JSON Schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "strict": "yes"}}},
            "response_format",
            "'response_format.json_schema.strict' must be true or false",
        ),
        ({"tools": tool()}, "tools", "must be a list"),
        ({"tools": [tool(), "f"]}, "tools[1]", "must be a function with a name"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0]", "must be a function with a name"),
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0]", "must be a function with a name"),
        ({"tools": [{"name": "f", "parameters": {}}]}, "tools[0]", "must be a function with a name"),
        ({"tool_choice": "always", "tools": [tool()]}, "tool_choice", "must be none, auto, required or a function"),
        ({"tool_choice": 1, "tools": [tool()]}, "tool_choice", "must be none, auto, required or a function"),
        ({"tool_choice": "required"}, "tool_choice", "needs 'tools'"),
        ({"tool_choice": {"type": "function"}, "tools": [tool()]}, "tool_choice", "must name a function"),
        (
            {"tool_choice": {"type": "function", "function": {"name": "other"}}, "tools": [tool()]},
            "tool_choice",
            "must name a function that is among 'tools'",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}, "tools": [tool()]},
            "tool_choice",
            "must have mode auto or required",
        ),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls", "must be true or false"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort", "must be one of none, minimal, low"),
        ({"reasoning_effort": 3}, "reasoning_effort", "must be one of"),
        ({"reasoning_effort": ["low"]}, "reasoning_effort", "must be one of"),
        ({"reasoning": "low"}, "reasoning", "must be an object"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning_effort", "must be one of"),
        ({"logprobs": 5}, "logprobs", "must be true or false"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "must be a whole number from 0 to 20"),
        ({"top_logprobs": 3}, "top_logprobs", "needs 'logprobs' to be true"),
        ({"think": "yes"}, "think", "must be true, false, low, medium, high or max"),
        ({"think": 1}, "think", "must be true, false"),
        ({"keep_alive": ["5m"]}, "keep_alive", "seconds or a duration such as 5m"),
        ({"keep_alive": True}, "keep_alive", "seconds or a duration such as 5m"),
        ({"num_ctx": 0}, "num_ctx", "must be a whole number from 4"),
        ({"num_ctx": "8k"}, "num_ctx", "must be a whole number"),
        ({"top_k": "many"}, "top_k", "must be a number"),
        ({"options": ["top_k"]}, "options", "must be an object"),
        ({"options": {"top_k": "many"}}, "top_k", "must be a number"),
        ({"verbosity": "loud"}, "verbosity", "must be one of low, medium, high"),
        ({"format": "xml"}, "format", 'must be "json" or a JSON Schema object'),
        ({"thinking": {"type": "auto"}}, "thinking", "must be enabled or disabled"),
        ({"reasoning": {"enabled": "yes"}}, "enabled", "must be true or false"),
        ({"messages": [{"role": "assistant", "function_call": {"name": "f"}}]}, "messages[0].function_call", "use"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_wrong_request_is_told_which_parameter_and_what_to_do(wrong, param, advice):
    with pytest.raises(BadRequest) as caught:
        chat_request(**wrong)
    error = caught.value
    assert error.param == param
    assert advice in error.message
    assert error.code in ("invalid_value", "missing_required_parameter", "unsupported_parameter", "invalid_image_url")
    assert (error.status, error.type, error.may_fail_over) == (400, "invalid_request_error", False)


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"model=auto&messages=Hello", "not valid JSON"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (chat_body(seed=1).replace(b"1}", b"9" * 5000 + b"}"), "not valid JSON"),
        (DEEP.encode(), "not valid JSON"),
        (chat_body(metadata=0).replace(b": 0", b": " + b'{"a":' * 5000 + b"0" + b"}" * 5000), "not valid JSON"),
        (b"[]", "must be a JSON object with 'model' and 'messages'"),
        (b'"auto"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_body_that_is_no_request_is_refused_in_words(body, advice):
    with pytest.raises(BadRequest, match=advice) as caught:
        parse_chat(body)
    assert caught.value.param is None


@pytest.mark.parametrize("body", [b"{}", b'{"model":"auto"}', b'{"messages":[{"role":"user","content":"x"}]}'])
def test_what_is_missing_is_named(body):
    with pytest.raises(BadRequest, match="is missing") as caught:
        parse_chat(body)
    assert caught.value.code == "missing_required_parameter"


# --- out ----------------------------------------------------------------------------------------------------

HEAD = Head(id="chatcmpl-1", created=1_790_000_000, model="code")
USAGE = Usage(prompt_tokens=7, completion_tokens=3, details={"prompt_tokens_details": {"cached_tokens": 5}})
TOLD_USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 5},
}
LOGPROB = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}

PLAIN = [Delta(content="Hel"), Delta(content="lo"), Finish(reason="stop", usage=USAGE)]
THOUGHT = [Delta(reasoning="Hm"), Delta(reasoning="m"), Delta(content="4"), Finish(reason="length", usage=USAGE)]
CALLED = [
    Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments=""),)),
    Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"x"'), ToolCallDelta(index=1, id="b", name="g"))),
    Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"), ToolCallDelta(index=1, arguments="{}"))),
    Finish(reason="tool_calls", usage=USAGE),
]
MIXED = [
    Delta(
        content="Let me see.",
        reasoning="Hm",
        tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments="{}"),),
    ),
    Finish(reason="tool_calls", usage=USAGE),
]
SCORED = [
    Delta(content="Hi", logprobs=(LOGPROB,)),
    Delta(logprobs=(LOGPROB, LOGPROB)),
    Finish(reason="stop", usage=USAGE),
]
EMPTY: list[ChatEvent] = [Finish(reason="stop")]
ANSWERS = pytest.mark.parametrize(
    "events",
    [PLAIN, THOUGHT, CALLED, MIXED, SCORED, EMPTY],
    ids=["plain", "thought", "called", "mixed", "scored", "empty"],
)


def streamed(events: list[ChatEvent], *, include_usage: bool = False) -> list[dict[str, Any]]:
    writer = ChunkWriter(HEAD, include_usage=include_usage)
    return [chunk for event in events for chunk in writer.write(event)]


def collected(events: list[ChatEvent]) -> dict[str, Any]:
    completion = Completion()
    for event in events:
        completion.add(event)
    return completion.whole(HEAD)


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


# Chunks


@ANSWERS
@pytest.mark.parametrize("include_usage", [False, True])
def test_chunks_come_in_the_order_of_openai(events, include_usage):
    chunks = streamed(events, include_usage=include_usage)
    for chunk in chunks:
        envelope = {name: chunk[name] for name in ("id", "object", "created", "model")}
        assert envelope == {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": "code",
        }
    if include_usage:
        *chunks, last = chunks
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == (10 if events is not EMPTY else 0)
        assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    else:
        assert not any("usage" in chunk for chunk in chunks)
    choices = [chunk["choices"] for chunk in chunks]
    assert all(len(choice) == 1 and choice[0]["index"] == 0 for choice in choices), "clients index choices[0]"
    assert choices[0][0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice[0]["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert (choices[-1][0]["delta"], choices[-1][0]["finish_reason"]) == ({}, events[-1].reason)
    assert sum("role" in delta for delta in deltas(chunks)) == 1


def test_pieces_of_text_and_thought_keep_their_names():
    assert deltas(streamed(THOUGHT))[1:-1] == [
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"reasoning": "m", "reasoning_content": "m"},
        {"content": "4"},
    ]


def test_a_tool_call_is_named_once_and_then_only_goes_on():
    assert deltas(streamed(CALLED))[1:-1] == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": '{"x"'}},
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
            ]
        },
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": ":1}"}},
                {"index": 1, "function": {"arguments": "{}"}},
            ]
        },
    ]


def test_log_probabilities_come_even_without_text():
    chunks = streamed(SCORED)
    assert [chunk["choices"][0].get("logprobs") for chunk in chunks] == [
        None,
        {"content": [LOGPROB]},
        {"content": [LOGPROB, LOGPROB]},
        None,
    ]
    assert deltas(chunks)[2] == {"content": ""}


def test_usage_is_told_as_the_server_counted_it():
    assert streamed(PLAIN, include_usage=True)[-1]["usage"] == TOLD_USAGE


def sdk_message(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Put chunks together as openai-python does (lib/streaming/_deltas.py): by index, joining texts."""
    message: dict[str, Any] = {}
    for delta in deltas(chunks):
        for name, value in delta.items():
            if name != "tool_calls":
                message[name] = message.get(name, "") + value
                continue
            calls = message.setdefault("tool_calls", [])
            for piece in value:
                if piece["index"] == len(calls):
                    calls.append({"id": "", "type": "", "function": {"name": "", "arguments": ""}})
                call = calls[piece["index"]]
                for key in ("id", "type"):
                    call[key] += piece.get(key, "")
                for key, part in piece["function"].items():
                    call["function"][key] += part
    return message


@ANSWERS
def test_a_stream_adds_up_to_the_whole_answer(events):
    message = collected(events)["choices"][0]["message"]
    assert sdk_message(streamed(events)) == message | {"content": message["content"] or ""}


# Whole answers


@pytest.mark.parametrize(
    ("events", "message", "reason"),
    [
        (PLAIN, {"role": "assistant", "content": "Hello"}, "stop"),
        (
            THOUGHT,
            {"role": "assistant", "content": "4", "reasoning": "Hmm", "reasoning_content": "Hmm"},
            "length",
        ),
        (
            CALLED,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "tool_calls",
        ),
        (
            MIXED,
            {
                "role": "assistant",
                "content": "Let me see.",
                "reasoning": "Hm",
                "reasoning_content": "Hm",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "tool_calls",
        ),
        (EMPTY, {"role": "assistant", "content": ""}, "stop"),
    ],
    ids=["plain", "thought", "called", "mixed", "empty"],
)
def test_pieces_become_one_message(events, message, reason):
    assert collected(events)["choices"] == [{"index": 0, "message": message, "finish_reason": reason}]


def test_a_whole_answer_has_what_clients_require():
    answer = collected(SCORED)
    [choice] = answer.pop("choices")
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "code",
        "usage": TOLD_USAGE,
    }
    assert choice["logprobs"] == {"content": [LOGPROB, LOGPROB, LOGPROB]}


def test_uncounted_tokens_are_zero():
    assert collected(EMPTY)["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def test_a_model_is_listed_as_clients_read_it():
    assert model_object("code", 1_790_000_000) == {
        "id": "code",
        "object": "model",
        "created": 1_790_000_000,
        "owned_by": "moe",
    }


# Several answers

TWO: list[ChatEvent] = [
    Delta(index=1, content="b"),
    Delta(index=0, content="a"),
    Finish(index=1, reason="stop"),
    Delta(index=0, content="A", tool_calls=(ToolCallDelta(index=0, id="x", name="f", arguments="{}"),)),
    Finish(index=0, reason="tool_calls", usage=USAGE, adjusted=("parallel_tool_calls",)),
]


def test_chunks_of_several_answers_are_told_apart_and_usage_comes_last():
    writer = ChunkWriter(HEAD, include_usage=True, choices=2)
    *chunks, last = [chunk for event in TWO for chunk in writer.write(event)]
    indices = [chunk["choices"][0]["index"] for chunk in chunks]
    assert indices == [1, 1, 0, 0, 1, 0, 0]
    starts = [chunk["choices"][0]["index"] for chunk in chunks if "role" in chunk["choices"][0]["delta"]]
    assert starts == [1, 0]
    assert (last["choices"], last["usage"]) == ([], TOLD_USAGE)
    assert chunks[-1]["moe"] == {"adjusted": ["parallel_tool_calls"]}
    assert not any("moe" in chunk for chunk in chunks[:-1])


def test_the_first_chunk_of_all_tells_of_the_decision():
    writer = ChunkWriter(HEAD, include_usage=True, choices=2, moe={"route": "rule"})
    events = [Delta(index=1, content="a"), Delta(content="b"), Finish(index=1, reason="stop"), Finish(reason="stop")]
    first, *others = [chunk for event in events for chunk in writer.write(event)]
    assert first["moe"] == {"route": "rule"}
    assert not [chunk for chunk in others if "moe" in chunk]


def test_an_answer_tells_of_the_decision_beside_what_was_adjusted():
    completion = Completion()
    completion.add(Finish(reason="stop", adjusted=("messages",)))
    assert completion.whole(HEAD)["moe"] == {"adjusted": ["messages"]}
    assert completion.whole(HEAD, {"route": "rule"})["moe"] == {"route": "rule", "adjusted": ["messages"]}


@pytest.mark.parametrize(
    "labels",
    [{}, {"a": ""}, {f"name {number}": "x" * 512 for number in range(16)}, {"a" * 64: "b"}],
    ids=["none", "empty", "as many as may be", "long name"],
)
def test_labels_are_read(labels):
    assert chat_request(metadata=labels).metadata == labels


def test_several_answers_are_put_together_each_for_itself():
    answer = collected(TWO)
    assert [(choice["index"], choice["message"]["content"]) for choice in answer["choices"]] == [(0, "aA"), (1, "b")]
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["tool_calls", "stop"]
    assert answer["usage"] == TOLD_USAGE
    assert answer["moe"] == {"adjusted": ["parallel_tool_calls"]}


# Server-sent events


@pytest.mark.parametrize(
    "content", ["Hi", "two\nlines\r\n\r\n", "a\u2028b", "\ud83d", "data: [DONE]", "\x00", ""], ids=ascii
)
def test_an_event_is_one_line_of_json_that_any_parser_reads(content):
    [_, chunk, _] = streamed([Delta(content=content), Finish(reason="stop")])
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
