"""What reaches an Ollama server, and what its lines mean to a client."""

import itertools
import json
from typing import Any

import pytest

from routing.backends import ollama
from routing.backends.codec import LineSplitter
from routing.backends.protocol import ChatEvent, Delta, Finish, ToolCallDelta, Usage
from routing.exceptions import BadRequest, UpstreamFailed
from tests.requests import HELLO, chat_call, image, text, tool, tool_turn

FUNCTION = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def sent(**fields: Any) -> dict[str, Any]:
    return ollama.chat_payload(chat_call(**fields))


def sent_message(*messages: dict[str, Any]) -> dict[str, Any]:
    """Return the last of ``messages`` as Ollama gets it."""
    return sent(messages=list(messages))["messages"][-1]


# --- a call -----------------------------------------------------------------------------------------------


def test_a_plain_request_carries_nothing_the_client_did_not_ask_for():
    payload = sent()
    assert payload.pop("model") == "llama3.2:3b"
    assert payload.pop("messages") == [HELLO]
    assert payload.pop("stream") is True
    assert payload.pop("truncate") is False, "a prompt that does not fit is an error, not a silent loss"
    assert payload.pop("shift") is False
    assert payload == {}


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": None}, None),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_p": 0}, {"top_p": 0}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": -1}, {"seed": -1}),
        ({"seed": 2**63 - 1}, {"seed": 2**63 - 1}),
        ({"presence_penalty": 0, "frequency_penalty": 0.0}, {"presence_penalty": 0, "frequency_penalty": 0}),
        ({"presence_penalty": -2, "frequency_penalty": 2}, {"presence_penalty": -2, "frequency_penalty": 2}),
        ({"max_tokens": 10}, {"num_predict": 10}),
        ({"max_tokens": 10.0}, {"num_predict": 10}),
        ({"max_completion_tokens": 10}, {"num_predict": 10}),
        ({"max_completion_tokens": 10, "max_tokens": 20}, {"num_predict": 10}),
        ({"max_completion_tokens": None, "max_tokens": 20}, {"num_predict": 20}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop": "\n"}, {"stop": ["\n"]}),
        ({"num_ctx": 8192}, {"num_ctx": 8192}),
        ({"top_k": 1, "min_p": 0, "repeat_penalty": 1.1}, {"top_k": 1, "min_p": 0, "repeat_penalty": 1.1}),
        ({"options": {"mirostat": 1, "num_gpu": None}}, None),
        ({"options": {"num_predict": -1}}, {"num_predict": -1}),
        ({"num_predict": -1}, {"num_predict": -1}),
        ({"num_predict": 5, "repetition_penalty": 1.1}, {"num_predict": 5, "repeat_penalty": 1.1}),
        ({"max_tokens": 5, "max_output_tokens": 7, "stop_sequences": ["x"]}, {"num_predict": 5, "stop": ["x"]}),
        ({"options": {"temperature": 0.1}}, {"temperature": 0.1}),
        ({"options": {"temperature": 0.1, "top_k": 5}, "temperature": 0.9}, {"temperature": 0.9, "top_k": 5}),
        ({"options": {"top_k": 5}, "top_k": 7}, {"top_k": 7}),
        ({"options": {"num_predict": 10, "stop": ["a"], "seed": 0}}, {"num_predict": 10, "stop": ["a"], "seed": 0}),
        ({"options": {"num_predict": 10}, "max_tokens": 20}, {"num_predict": 20}),
        ({"options": {"num_predict": 10}, "max_completion_tokens": 20}, {"num_predict": 20}),
        ({"n": 1, "user": "me", "metadata": {"a": "b"}, "store": False, "logit_bias": {}}, None),
    ],
    ids=str,
)
def test_sampling_reaches_the_model_as_options(asked, options):
    assert sent(**asked).get("options") == options


@pytest.mark.parametrize(
    ("asked", "keep_alive"),
    [("5m", "5m"), (300, 300), (-1, -1), (0, 0), (1.5, 1.5), ("300", 300), ("-1", -1), ("0", 0)],
)
def test_keep_alive_is_no_option_and_never_a_number_as_text(asked, keep_alive):
    """Ollama ignores it among the options, and refuses "300" for want of a unit."""
    payload = sent(keep_alive=asked)
    assert payload["keep_alive"] == keep_alive
    assert type(payload["keep_alive"]) is not str or keep_alive == "5m"
    assert "options" not in payload


@pytest.mark.parametrize(
    ("response_format", "native"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}, SCHEMA),
    ],
    ids=["absent", "text", "json_object", "json_schema"],
)
def test_response_format_becomes_the_bare_schema(response_format, native):
    assert sent(response_format=response_format).get("format") == native


@pytest.mark.parametrize(
    ("asked", "logprobs"),
    [
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"logprobs": True, "top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": False}, {}),
    ],
)
def test_log_probabilities_are_asked_for_at_the_top_level(asked, logprobs):
    payload = sent(**asked)
    assert {name: payload[name] for name in ("logprobs", "top_logprobs") if name in payload} == logprobs


# Thinking


@pytest.mark.parametrize(
    ("asked", "think"),
    [
        ({}, None),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "low"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning_effort": "high"}, "high"),
        ({"reasoning_effort": "max"}, "max"),
        ({"reasoning_effort": "xhigh"}, "max"),
        ({"reasoning_effort": "ultra"}, "max"),
        ({"reasoning": {"effort": "low"}}, "low"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "low"),
        ({"reasoning": {}, "reasoning_effort": "high"}, "high"),
        ({"think": False}, False),
        ({"think": True}, True),
        ({"think": "low"}, "low"),
        ({"think": False, "reasoning_effort": "high"}, False),
        ({"enable_thinking": False, "reasoning_effort": "high"}, False),
        ({"enable_thinking": True, "reasoning_effort": "high"}, "high"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1000}}, True),
        ({"reasoning": {"enabled": False}}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("capabilities", [("completion", "thinking"), None], ids=["told", "not told"])
def test_reasoning_effort_becomes_think(asked, think, capabilities):
    payload = sent(capabilities=capabilities, **asked)
    assert payload.get("think") is think if isinstance(think, bool) else payload.get("think") == think


@pytest.mark.parametrize("asked", [{"think": False}, {"reasoning_effort": "none"}])
def test_not_to_think_is_accepted_by_every_model(asked):
    assert sent(capabilities=("completion",), **asked)["think"] is False


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"think": True}, "think"),
        ({"think": "high"}, "think"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"tools": [tool()]}, "tools"),
    ],
    ids=str,
)
def test_what_the_model_cannot_do_is_refused_before_it_is_asked(asked, param):
    with pytest.raises(BadRequest, match=f"'llama3.2:3b' does not support .* Leave out '{param}'") as caught:
        sent(capabilities=("completion",), **asked)
    assert caught.value.param == param
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.status == 400


# Tools


@pytest.mark.parametrize("choice", [None, "auto"])
@pytest.mark.parametrize("capabilities", [("completion", "tools"), None], ids=["told", "not told"])
def test_tools_reach_the_model_unchanged(choice, capabilities):
    tools = [tool(additionalProperties=False), tool("other")]
    payload = sent(tools=tools, tool_choice=choice, parallel_tool_calls=True, capabilities=capabilities)
    assert payload["tools"] == tools
    assert "tool_choice" not in payload


@pytest.mark.parametrize("capabilities", [("completion", "tools"), ("completion",)])
def test_tool_choice_none_withholds_the_tools(capabilities):
    """Ollama ignores tool_choice, so that a model which sees tools might call one."""
    assert "tools" not in sent(tools=[tool()], tool_choice="none", capabilities=capabilities)


@pytest.mark.parametrize(
    ("asked", "offered", "words"),
    [
        ({"tool_choice": "required"}, ["get_weather", "other"], "one of the functions"),
        ({"tool_choice": FUNCTION}, ["get_weather"], "the function 'get_weather'"),
        ({"parallel_tool_calls": False}, ["get_weather", "other"], "at most one function"),
    ],
)
def test_what_ollama_has_no_parameter_for_is_said_in_words(asked, offered, words):
    payload = sent(tools=[tool(), tool("other")], **asked)
    assert [item["function"]["name"] for item in payload["tools"]] == offered
    system, question = payload["messages"]
    assert (system["role"], question) == ("system", HELLO)
    assert words in system["content"]


def test_what_is_said_in_words_comes_after_the_system_prompt_there_is():
    history = [{"role": "developer", "content": "Be kind."}, HELLO]
    system, _ = sent(messages=history, tools=[tool()], tool_choice="required", verbosity="low")["messages"]
    assert system["role"] == "system"
    first, *rest = system["content"].split("\n\n")
    assert first == "Be kind."
    assert [text.split()[0] for text in rest] == ["Answer", "Your"]


@pytest.mark.parametrize("asked", [{"tool_choice": "none"}, {"tool_choice": "auto"}, {"verbosity": "medium"}], ids=str)
def test_nothing_is_said_where_nothing_is_asked(asked):
    assert sent(tools=[tool()], **asked)["messages"] == [HELLO]


@pytest.mark.parametrize(("mode", "system"), [("auto", []), ("required", ["system"])])
def test_allowed_tools_narrow_what_is_offered(mode, system):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "other"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    payload = sent(tools=[tool(), tool("other")], tool_choice=choice)
    assert [item["function"]["name"] for item in payload["tools"]] == ["other"]
    assert [message["role"] for message in payload["messages"]] == [*system, "user"]


@pytest.mark.parametrize("url", ["data:image/gif;base64,AAAA", "data:;base64,R0lGODlhAQABAAAAACw="])
def test_a_gif_is_refused_since_ollama_cannot_read_it(url):
    messages = [HELLO, {"role": "user", "content": [text("This?"), image(url)]}]
    with pytest.raises(BadRequest, match="PNG, JPEG or WebP") as caught:
        sent(messages=messages)
    assert (caught.value.param, caught.value.code) == ("messages[1].content[1]", "invalid_image_format")


@pytest.mark.parametrize(
    ("words", "param"),
    [
        ('think value "medium" is not supported for this model', "reasoning_effort"),
        ('"llama3.2:3b" does not support thinking', "reasoning_effort"),
        ("illegal base64 data at input byte 4", None),
    ],
)
def test_a_refusal_about_thinking_is_recognised(words, param):
    assert ollama.refused_parameter(words) == param


# Messages


@pytest.mark.parametrize(
    ("message", "native"),
    [
        ({"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "user", "content": ""}, {"role": "user", "content": ""}),
        ({"role": "user", "content": "Hi", "name": "Ada"}, {"role": "user", "content": "Hi"}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}),
        ({"role": "user", "content": [text("one, "), text("two")]}, {"role": "user", "content": "one, two"}),
        ({"role": "system", "content": [text("Be brief.")]}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "assistant", "content": "4", "reasoning": "2+2"},
            {"role": "assistant", "content": "4", "thinking": "2+2"},
        ),
        (
            {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
            {"role": "assistant", "content": "4", "thinking": "2+2"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": "No."},
        ),
        (
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": "No."},
        ),
        (
            {"role": "user", "content": "half an emoji \ud83d"},
            {"role": "user", "content": "half an emoji \ud83d"},
        ),
    ],
    ids=ascii,
)
def test_each_message_becomes_one_whose_content_is_text(message, native):
    assert sent_message(message) == native


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/jpeg;base64,iVBORw0KGgo=",
        "data:image/svg+xml;charset=utf-8;base64,iVBORw0KGgo=",
        "data:;base64,iVBORw0KGgo=",
    ],
)
def test_an_image_arrives_as_bare_base64_beside_the_joined_text(url):
    message = {"role": "user", "content": [text("What "), image(url, detail="low"), text("is this?")]}
    assert sent_message(message) == {"role": "user", "content": "What is this?", "images": ["iVBORw0KGgo="]}


def test_an_image_may_be_a_plain_string_and_images_keep_their_order():
    first = {"type": "image_url", "image_url": "data:image/png;base64,Zmlyc3Q="}
    message = {"role": "user", "content": [first, image("data:image/png;base64,c2Vjb25k")]}
    assert sent_message(message) == {"role": "user", "content": "", "images": ["Zmlyc3Q=", "c2Vjb25k"]}


@pytest.mark.parametrize(
    ("arguments", "native"),
    [
        ('{"city": "Rome"}', {"city": "Rome"}),
        ({"city": "Rome"}, {"city": "Rome"}),
        ("", {}),
        (None, {}),
        ("{}", {}),
        ('{"b": 1, "a": {"c": [null, 0.5]}}', {"b": 1, "a": {"c": [None, 0.5]}}),
        ('{"id": 12345678901234567890123}', {"id": 12345678901234567890123}),
        ('{"text": "\\ud83d"}', {"text": "\ud83d"}),
    ],
    ids=str,
)
def test_arguments_of_past_calls_become_objects(arguments, native):
    message = sent_message(HELLO, tool_turn(("call_1", "get_weather", arguments)))
    assert message == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_1", "function": {"index": 0, "name": "get_weather", "arguments": native}}],
    }
    assert list(message["tool_calls"][0]["function"]["arguments"]) == list(native)
    assert [type(value) for value in message["tool_calls"][0]["function"]["arguments"].values()] == [
        type(value) for value in native.values()
    ]


def test_several_past_calls_are_numbered():
    calls = sent_message(tool_turn(("a", "first", "{}"), ("b", "second", "{}")))["tool_calls"]
    assert [(call["id"], call["function"]["index"]) for call in calls] == [("a", 0), ("b", 1)]


@pytest.mark.parametrize(
    ("history", "result", "tool_name"),
    [
        ([tool_turn(("a", "first", "{}"), ("b", "second", "{}"))], {"tool_call_id": "b"}, "second"),
        ([tool_turn(("a", "first", "{}")), tool_turn(("a", "second", "{}"))], {"tool_call_id": "a"}, "second"),
        ([tool_turn(("a", "first", "{}"))], {"tool_call_id": "a", "name": "given"}, "given"),
        ([tool_turn(("a", "first", "{}"))], {"tool_call_id": "unknown"}, None),
        ([tool_turn(("a", "first", "{}"))], {}, None),
        ([], {"tool_call_id": "a"}, None),
    ],
    ids=["by id", "the last call with the id", "named", "unknown id", "no id", "no history"],
)
@pytest.mark.parametrize("content", ["18 degrees", [text("18 "), text("degrees")]], ids=["text", "parts"])
def test_a_tool_result_names_the_function_that_was_called(history, result, tool_name, content):
    message = sent_message(*history, {"role": "tool", "content": content} | result)
    assert (message["role"], message["content"]) == ("tool", "18 degrees")
    assert message.get("tool_name") == tool_name
    assert message.get("tool_call_id") == result.get("tool_call_id")


# --- an answer --------------------------------------------------------------------------------------------


def line(message: Any = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "2026-08-21T10:00:00.123456789Z", "message": message, "done": False} | fields


def said(content: str, **fields: Any) -> dict[str, Any]:
    return line({"role": "assistant", "content": content} | fields)


def called(name: str, arguments: Any, **fields: Any) -> dict[str, Any]:
    return {"function": {"index": 0, "name": name, "arguments": arguments}} | fields


END = {"model": "m", "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
ENDED = Finish(reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=3))


def new_stream() -> ollama.ChatStream:
    numbers = itertools.count(1)
    return ollama.ChatStream(new_id=lambda: f"call_new{next(numbers)}")


def read(*objects: Any) -> list[ChatEvent]:
    stream = new_stream()
    return [event for value in objects for event in stream.feed(json.dumps(value).encode())]


@pytest.mark.parametrize(
    ("objects", "events"),
    [
        ([said("Hel"), said("lo"), END], [Delta(content="Hel"), Delta(content="lo"), ENDED]),
        ([said(""), said("Hi"), said(""), END], [Delta(content="Hi"), ENDED]),
        ([said(" "), said("\n"), END], [Delta(content=" "), Delta(content="\n"), ENDED]),
        ([said("0"), END], [Delta(content="0"), ENDED]),
        (
            [line({"role": "assistant", "content": "Hi", "images": None, "tool_calls": None}), END],
            [Delta(content="Hi"), ENDED],
        ),
        ([said("", thinking="Hm"), said("4"), END], [Delta(reasoning="Hm"), Delta(content="4"), ENDED]),
        ([said("4", thinking="Hm"), END], [Delta(content="4", reasoning="Hm"), ENDED]),
        ([said("Hi") | END], [Delta(content="Hi"), ENDED]),
        ([END | {"message": {"role": "assistant", "content": ""}}], [ENDED]),
        ([END | {"message": None}], [ENDED]),
        ([END], [ENDED]),
        ([said("\ud83d"), said("\ude42"), END], [Delta(content="\ud83d"), Delta(content="\ude42"), ENDED]),
    ],
    ids=[
        "pieces",
        "empty pieces",
        "white space",
        "zero",
        "nulls",
        "thinking first",
        "both in one",
        "content with done",
        "trailer with empty message",
        "trailer with null",
        "trailer without message",
        "half emojis",
    ],
)
def test_lines_become_pieces_and_an_end(objects, events):
    assert read(*objects) == events


@pytest.mark.parametrize(
    ("trailer", "finish"),
    [
        ({"done_reason": "stop"}, Finish(reason="stop", usage=Usage())),
        ({"done_reason": "length"}, Finish(reason="length", usage=Usage())),
        ({}, Finish(reason="stop", usage=Usage())),
        ({"done_reason": ""}, Finish(reason="stop", usage=Usage())),
        ({"done_reason": None}, Finish(reason="stop", usage=Usage())),
        ({"done_reason": "unload"}, Finish(reason="stop", usage=Usage())),
        ({"prompt_eval_count": 11}, Finish(reason="stop", usage=Usage(prompt_tokens=11))),
        ({"eval_count": 5}, Finish(reason="stop", usage=Usage(completion_tokens=5))),
    ],
    ids=str,
)
def test_a_missing_reason_is_stop_and_a_missing_count_is_zero(trailer, finish):
    assert read(said("x"), {"done": True} | trailer)[-1] == finish


@pytest.mark.parametrize(
    ("done_reason", "reason"), [("stop", "tool_calls"), (None, "tool_calls"), ("length", "length")]
)
def test_an_answer_that_called_a_tool_ends_with_tool_calls_unless_it_was_cut(done_reason, reason):
    [*_, finish] = read(said("", tool_calls=[called("f", {})]), {"done": True, "done_reason": done_reason})
    assert finish.reason == reason


def test_calls_are_numbered_anew_over_all_lines_and_get_the_ids_they_lack():
    events = read(
        said("Let me see.", tool_calls=[called("first", {"b": 1, "a": "é"}, id="call_abcdefgh"), called("second", {})]),
        said("", tool_calls=[called("third", None, id="")]),
        END | {"message": {"role": "assistant", "content": "", "tool_calls": [called("fourth", {"x": None})]}},
    )
    assert events == [
        Delta(
            content="Let me see.",
            tool_calls=(
                ToolCallDelta(index=0, id="call_abcdefgh", name="first", arguments='{"b":1,"a":"é"}'),
                ToolCallDelta(index=1, id="call_new1", name="second", arguments="{}"),
            ),
        ),
        Delta(tool_calls=(ToolCallDelta(index=2, id="call_new2", name="third", arguments="{}"),)),
        Delta(tool_calls=(ToolCallDelta(index=3, id="call_new3", name="fourth", arguments='{"x":null}'),)),
        Finish(reason="tool_calls", usage=Usage(prompt_tokens=7, completion_tokens=3)),
    ]


@pytest.mark.parametrize("number", [0, 2**53 + 1, 2**63 - 1, 2**64, -(2**70), 0.1])
def test_numbers_in_arguments_arrive_as_the_model_wrote_them(number):
    [delta, _] = read(said("", tool_calls=[called("f", {"id": number})]), END)
    assert delta.tool_calls[0].arguments == f'{{"id":{number}}}'


def test_log_probabilities_get_every_key_clients_read():
    native = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2}]}]
    [delta, _] = read(said("") | {"logprobs": [*native, {"token": "!", "logprob": -0.1}]}, END)
    assert delta == Delta(
        logprobs=(
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [{"token": "Ho", "logprob": -2, "bytes": None}],
            },
            {"token": "!", "logprob": -0.1, "bytes": None, "top_logprobs": []},
        )
    )


def test_only_the_object_that_says_so_ends_the_answer():
    stream = new_stream()
    stream.feed(json.dumps(said("x")).encode())
    assert not stream.done
    stream.feed(json.dumps(END).encode())
    assert stream.done


@pytest.mark.parametrize("blank", [b"", b" ", b"\t"])
def test_blank_lines_are_passed_over(blank):
    assert new_stream().feed(blank) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("CUDA error: out of memory", "CUDA error: out of memory"),
        ({"message": "it broke"}, "it broke"),
        (json.dumps({"error": {"code": 500, "message": "it broke", "type": "server_error"}}), "it broke"),
        (json.dumps({"error": json.dumps({"error": "it broke"})}), "it broke"),
        (json.dumps({"StatusCode": 500, "Status": "500 Internal Server Error"}), "500 Internal Server Error"),
        (json.dumps({"StatusCode": 500, "Status": "500 Oops", "error": "it broke"}), "it broke"),
        ("404", "404"),
        ("[1]", "[1]"),
        ({"code": 500}, "no reason given"),
        (json.dumps({"error": ""}), "no reason given"),
    ],
)
def test_an_error_line_is_a_failure_in_plain_words(error, words):
    with pytest.raises(UpstreamFailed) as caught:
        read(said("Hel"), {"error": error})
    assert caught.value.message == f"The model server stopped with an error: {words}"
    assert caught.value.status == 502


@pytest.mark.parametrize("broken", [b"<html>", b'{"message": {"content": "x"', b"[1]", b'"text"', b"null", b"\xff\xfe"])
def test_a_line_that_is_no_object_is_a_failure(broken):
    with pytest.raises(UpstreamFailed, match=r"not (a )?JSON"):
        new_stream().feed(broken)


def test_the_events_are_the_same_wherever_the_bytes_are_cut():
    answer = [
        said("", thinking="Ü"),
        said("a\u2028b \ud83d\n"),
        said("", tool_calls=[called("f", {"x": "数据", "big": 2**70})]),
        END,
    ]
    # Go writes U+2028 raw or escaped; here raw, so that a wrong splitter would trip over it.
    stream = b"".join(json.dumps(value).encode().replace(b"\\u2028", "\u2028".encode()) + b"\n" for value in answer)

    def events(*pieces: bytes) -> list[ChatEvent]:
        splitter, reader = LineSplitter(), new_stream()
        lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()
        return [event for line in lines for event in reader.feed(line)]

    expected = read(*answer)
    assert len(expected) == 4
    assert events(*(stream[place : place + 1] for place in range(len(stream)))) == expected
    for place in range(len(stream) + 1):
        assert events(stream[:place], stream[place:]) == expected
    assert events(stream.removesuffix(b"\n")) == expected, "the last line may lack its end"
