"""The events of an answer as those of a response, held against the SDK's types and its own accumulator."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway import sse
from gateway.responses.request import read_response
from gateway.responses.writing import ResponseWriter, usage_object
from routing.backends.protocol import Delta, Finish, ToolCallDelta, Usage
from routing.exceptions import UpstreamFailed

RESPONSE = "resp_" + "0" * 32
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TYPES = {
    event.model_fields["type"].annotation.__args__[0]: event for event in get_args(get_args(ResponseStreamEvent)[0])
}
DONE = Finish(reason="stop", usage=Usage(prompt_tokens=5, completion_tokens=2))
TOOLS = [{"type": "function", "name": "f"}, {"type": "custom", "name": "c"}]


def writer(**fields) -> ResponseWriter:
    data = {"model": "auto", "input": "Hello", "tools": TOOLS} | fields
    return ResponseWriter(read_response(data, RESPONSE), keeps=False)


def written(*events, **fields):
    """Return what is sent for ``events``: each checked against the SDK's type of it."""
    made = writer(**fields)
    sent = [one for event in events for one in made.write(event)]
    sent += made.end()
    return checked(sent)


def checked(sent):
    for number, event in enumerate(sent):
        assert event["sequence_number"] == number
        TYPES[event["type"]].model_validate(event)
    return sent


def accumulated(sent) -> Response:
    """Return what the SDK's helper makes of the events."""
    state: Any = ResponseStreamState(text_format=omit, input_tools=omit)
    for event in sent:
        state.handle_event(TYPES[event["type"]].construct(**EVENTS.validate_python(event).__dict__))
    return state._completed_response


def call(index: int, name: str | None = None, arguments: str = "") -> Delta:
    piece = ToolCallDelta(index=index, id=f"call_{index}" if name else None, name=name, arguments=arguments)
    return Delta(tool_calls=(piece,))


def output(sent):
    return sent[-1]["response"]["output"]


def test_a_call_in_fragments():
    sent = written(call(0, "f"), call(0, None, '{"a"'), call(0, None, ": 1}"), call(1, "f", "{}"), DONE)
    assert [item["arguments"] for item in output(sent)] == ['{"a": 1}', "{}"]
    assert [item["call_id"] for item in output(sent)] == ["call_0", "call_1"]
    assert accumulated(sent).output[0].arguments == '{"a": 1}'


def test_a_call_without_arguments_has_an_object():
    sent = written(call(0, "f"), DONE)
    assert output(sent)[0]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"input": "a\\nb"}', "a\nb"),
        ('{"patch": "a"}', "a"),
        ('{"input": 1}', '{"input": 1}'),
        ("no JSON", "no JSON"),
        ('{"a": "1", "b": "2"}', '{"a": "1", "b": "2"}'),
    ],
)
def test_a_custom_call_has_the_text_alone(arguments, given):
    sent = written(call(0, "c", arguments), DONE)
    assert (output(sent)[0]["type"], output(sent)[0]["input"]) == ("custom_tool_call", given)
    assert "response.custom_tool_call_input.done" in [event["type"] for event in sent]


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_a_call_of_a_namespaces_tool_tells_both_names(kind):
    agents = {"type": "namespace", "name": "agents", "description": "d", "tools": [{"type": kind, "name": "spawn"}]}
    sent = written(call(0, "agents__spawn", "{}"), DONE, tools=[agents])
    [item] = accumulated(sent).output
    assert (item.name, item.namespace) == ("spawn", "agents")
    assert "agents__spawn" not in json.dumps(output(sent))


def test_fragments_of_a_call_that_is_over_are_an_error():
    made = writer()
    list(made.write(call(0, "f", "{}")))
    list(made.write(call(1, "f", "{}")))
    with pytest.raises(UpstreamFailed, match="mixed up"):
        list(made.write(call(0, None, "x")))


def test_nothing_said_is_an_empty_message():
    sent = written(DONE)
    assert [item["type"] for item in output(sent)] == ["message"]
    sent = written(Delta(reasoning="Hm"), DONE)
    assert [item["type"] for item in output(sent)] == ["reasoning", "message"]


def test_thinking_that_was_cut_short_is_all_there_is():
    sent = written(Delta(reasoning="Hm"), Finish(reason="length"))
    response = sent[-1]["response"]
    assert (sent[-1]["type"], response["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert [(item["type"], item["status"]) for item in response["output"]] == [("reasoning", "incomplete")]


def test_what_was_withheld_says_so():
    sent = written(Delta(content="x"), Finish(reason="content_filter"))
    assert sent[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}


def test_thinking_is_sealed_once():
    sent = written(Delta(reasoning="Hm"), DONE, include=["reasoning.encrypted_content"])
    tokens = {event["item"]["encrypted_content"] for event in sent if "encrypted_content" in event.get("item", {})}
    assert tokens == {output(sent)[0]["encrypted_content"]}


def test_a_failure_tells_what_there_was():
    made = writer()
    sent = list(made.write(Delta(content="One")))
    sent += made.failed(UpstreamFailed("It broke off."))
    *_, failed, error = sent
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {
        "code": "upstream_error", "message": "It broke off.", "param": None, "type": "api_error",
    }  # fmt: skip
    assert failed["response"]["output"][0]["content"][0]["text"] == "One"
    assert (error["type"], error["error"]["message"], error["message"]) == ("error", "It broke off.", "It broke off.")


def test_counts_that_a_server_does_not_tell_are_none():
    details = {"prompt_tokens_details": {"cached_tokens": 3}, "completion_tokens_details": {"reasoning_tokens": 1}}
    assert usage_object(Usage(prompt_tokens=5, completion_tokens=2, details=details)) == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 7,
    }
    assert usage_object(Usage())["input_tokens_details"]["cached_tokens"] == 0


def test_an_event_has_its_name():
    assert sse.event("response.created", {"a": 1}) == b'event: response.created\ndata: {"a":1}\n\n'


PIECES = st.one_of(
    st.builds(Delta, content=st.text(min_size=1, max_size=5)),
    st.builds(Delta, reasoning=st.text(min_size=1, max_size=5)),
    st.builds(Delta, content=st.text(max_size=3), reasoning=st.text(max_size=3)),
    st.sampled_from(["f", "c"]),
)


@given(st.lists(PIECES, max_size=12), st.sampled_from(["stop", "length", "tool_calls"]), st.booleans())
def test_whatever_a_model_says_the_sdk_puts_together(pieces, reason, summarises):
    calls = 0
    events = []
    for piece in pieces:
        if isinstance(piece, str):
            piece, calls = call(calls, piece, json.dumps({"input": "x"})), calls + 1
        events.append(piece)
    reasoning = {"summary": "auto"} if summarises else None
    sent = written(*events, Finish(reason=reason), reasoning=reasoning)
    items = output(sent)
    assert [event["item"] for event in sent if event["type"] == "response.output_item.done"] == items
    assert "".join(item["content"][0]["text"] for item in items if item["type"] == "message") == "".join(
        one.content for one in events
    )
    if sent[-1]["type"] == "response.completed":
        assert accumulated(sent).to_dict()["output"] is not None
