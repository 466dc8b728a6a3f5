"""What clients may send in a chat, and what they are told when it is wrong."""

import base64
from typing import Any

import pytest

from gateway.chatrequest import parse_chat
from routing.backends import codec
from routing.backends.protocol import Image, Text, ToolCall
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
        ({"reasoning": {"enabled": "yes"}}, "reasoning.enabled", "must be true or false"),
        ({"chat_template_kwargs": {"thinking": 1}}, "chat_template_kwargs.thinking", "must be true or false"),
        ({"n": 0}, "n", "must be a whole number from 1 to 16."),
        ({"max_tokens": 0}, "max_tokens", "must be a whole number from 1 to 2,147,483,648."),
        ({"temperature": 3}, "temperature", "must be a number from 0 to 2."),
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


@pytest.mark.parametrize(
    "labels",
    [{}, {"a": ""}, {f"name {number}": "x" * 512 for number in range(16)}, {"a" * 64: "b"}],
    ids=["none", "empty", "as many as may be", "long name"],
)
def test_labels_are_read(labels):
    assert chat_request(metadata=labels).metadata == labels


# --- in: at the edges --------------------------------------------------------------------------------


def parse(**fields):
    return parse_chat(codec.dumps({"model": "auto", "messages": [HELLO]} | fields))


def test_no_limit_stays_no_limit():
    assert parse(options={"num_predict": -1}).options == {"num_predict": -1}
    assert parse(options={"num_predict": -1.0}).sampling.max_tokens is None


def test_an_empty_list_of_stops_is_none():
    assert parse(stop=[]).sampling.stop is None


def test_include_usage_is_true_or_false():
    with pytest.raises(BadRequest) as caught:
        parse(stream_options={"include_usage": "false"})
    assert caught.value.param == "stream_options.include_usage"
    assert "'stream_options.include_usage' must be true or false" in caught.value.message


@pytest.mark.parametrize("data", ["", "not base64!", "abc"])
def test_an_image_that_is_none_is_told(data):
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    with pytest.raises(BadRequest) as caught:
        parse(messages=[{"role": "user", "content": [part]}])
    assert caught.value.param == "messages[0].content[0]"


def test_an_image_is_read():
    data = base64.b64encode(b"x").decode()
    part = {"type": "image_url", "image_url": f"data:image/webp;base64,{data}"}
    [image] = parse(messages=[{"role": "user", "content": [part]}]).messages[0].images
    assert (image.data, image.mime) == (data, "image/webp")
