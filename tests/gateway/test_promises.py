"""What is promised and no model server holds to: tools that must be called, answers that are JSON."""

import json
import re
import time
from typing import Any

import openai
import pydantic
import pytest

from gateway import promises, schemas
from gateway.promises import Answer, PromiseBroken, kept
from routing.backends.protocol import ChatEvent, Delta, Finish, ServerKind, ToolCallDelta, Usage
from routing.exceptions import BadRequest
from tests.requests import HELLO, chat_request, tool
from tests.scripted import Reply, ToolCall

NAMED = {"type": "function", "function": {"name": "get_weather"}}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
OBJECT = {"type": "json_object"}
STRICT = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
LOOSE = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
ADA = '{"name": "Ada", "age": 36}'
STOP = Finish(reason="stop")


def strict() -> dict[str, Any]:
    """Return a function whose calls are to fit."""
    declared = tool(required=["city"], additionalProperties=False)
    declared["function"]["strict"] = True
    return declared


def called(name: str | None = "get_weather", arguments: str = "{}", index: int = 0) -> Delta:
    return Delta(tool_calls=(ToolCallDelta(index=index, id=f"call_{index}", name=name, arguments=arguments),))


# --- answers, without a server -------------------------------------------------------------------------------


def answered(asked: dict[str, Any], *events: ChatEvent, kind: ServerKind = ServerKind.OLLAMA) -> tuple[list[Any], Any]:
    """Return what went out before the end, and the fault."""
    answer = Answer(chat_request(**asked), kind)
    out = [piece for event in events if isinstance(event, Delta) for piece in answer.feed(event)]
    finish = next((event for event in events if isinstance(event, Finish)), STOP)
    return out, answer.fault(finish)


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({}, False),
        ({"tools": [tool()]}, False),
        ({"tools": [tool()], "tool_choice": "none", "parallel_tool_calls": False}, False),
        ({"parallel_tool_calls": False}, False),
        ({"tools": [tool()], "parallel_tool_calls": False}, True),
        ({"tools": [tool()], "tool_choice": "required"}, True),
        ({"tools": [tool()], "tool_choice": NAMED}, True),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": LOOSE}, False),
        ({"response_format": OBJECT}, True),
        ({"response_format": STRICT}, True),
        ({"tools": [strict()]}, True),
        ({"tools": [strict()], "tool_choice": "none"}, False),
        ({"format": "json"}, True),
    ],
    ids=str,
)
def test_an_answer_is_held_to_something_only_where_that_was_asked(asked, made):
    assert promises.are_made(chat_request(**asked)) is made


@pytest.mark.parametrize(
    ("choice", "events", "faulty"),
    [
        ("required", [called()], False),
        ("required", [called("other", '{"x": 1}')], False),
        ("required", [Delta(content="Sunny.")], True),
        ("required", [], True),
        ("required", [called("invented")], True),
        ("required", [called(arguments="[1]")], True),
        ("required", [called(arguments='{"x": ')], True),
        ("required", [Delta(content="Sun"), Finish(reason="length")], False),
        (NAMED, [called()], False),
        (NAMED, [called("other")], True),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_call_that_is_required_must_come(choice, events, faulty, stream):
    asked = {"tools": [tool(), tool("other")], "tool_choice": choice, "stream": stream}
    _, fault = answered(asked, *events)
    assert bool(fault) is faulty
    assert fault is None or (fault.code, fault.param) == ("tool_choice_unfulfilled", "tool_choice")


@pytest.mark.parametrize(
    ("events", "faulty"),
    [
        ([Delta(content="Sunny.")], True),
        ([called(arguments="")], False),
        ([called(arguments='{"ci')], False),
        ([called("invented")], True),
    ],
    ids=str,
)
def test_a_server_that_has_tool_choice_is_held_to_it_too(events, faulty):
    """llama.cpp answers in words where the model's template knows no tools."""
    asked = {"tools": [tool()], "tool_choice": "required", "stream": True}
    _, fault = answered(asked, *events, kind=ServerKind.OPENAI)
    assert bool(fault) is faulty


def test_until_the_call_is_there_nothing_goes_out_and_then_everything_does():
    asked = {"tools": [tool()], "tool_choice": "required", "stream": True}
    answer = Answer(chat_request(**asked), ServerKind.OLLAMA)
    assert answer.feed(Delta(reasoning="Hm")) == []
    assert not answer.started
    assert answer.feed(called()) == [Delta(reasoning="Hm"), called()]
    assert answer.feed(Delta(content="!")) == [Delta(content="!")]
    assert answer.started


def test_of_several_calls_the_first_is_kept_and_the_end_says_so():
    answer = Answer(chat_request(tools=[tool()], parallel_tool_calls=False, stream=True), ServerKind.OLLAMA)
    both = Delta(content="x", tool_calls=(*called().tool_calls, *called(index=1).tool_calls))
    assert answer.feed(both) == [Delta(content="x", tool_calls=called().tool_calls)]
    assert answer.feed(called(index=2)) == []
    assert answer.end(STOP) == [Finish(reason="stop", adjusted=("parallel_tool_calls",))]


def test_one_call_is_nothing_to_tell_of():
    answer = Answer(chat_request(tools=[tool()], parallel_tool_calls=False), ServerKind.OLLAMA)
    assert answer.feed(called()) == [called()]
    assert answer.end(STOP) == [STOP]


@pytest.mark.parametrize(
    ("text", "schema", "words"),
    [
        (ADA, PERSON, None),
        (ADA, None, None),
        ("{}", None, None),
        (f"\n {ADA} \n", PERSON, None),
        ('{"name": "Ada", "age": -1}', PERSON, r"at \$\.age: -1 is less than the minimum of 0"),
        ('{"name": "Ada"}', PERSON, "'age' is a required property"),
        ('{"name": "Ada", "age": 1, "x": 1}', PERSON, "Additional properties are not allowed"),
        ("[1]", None, "not an object"),
        ('"text"', None, "not an object"),
        ("", None, "not JSON"),
        (f"```json\n{ADA}\n```", None, "not JSON"),
        (ADA + ADA, None, "not JSON"),
        ('{"name": NaN}', None, "NaN is not a value of JSON"),
        ("[" * 100_000, None, "nested too deeply"),
        ('"b"', {"pattern": "^a"}, "does not match"),
        ('["a", "a"]', {"uniqueItems": True}, "more than once"),
        ('[{"a": 1, "b": 2}, {"b": 2, "a": 1}]', {"uniqueItems": True}, "more than once"),
        ("[1, 2]", {"uniqueItems": True, "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}, None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_text_is_held_to_a_schema(text, schema, words):
    fault = schemas.fault(text, schema)
    assert fault is None if words is None else re.search(words, fault or "")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strange"}, "is not valid under any of the given schemas"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "leads nowhere"),
        ({"items": {"$ref": "file:///etc/passwd"}}, "leads nowhere"),
        ({"$ref": "#/$defs/missing"}, "leads nowhere"),
        ({"patternProperties": {"(a+)+$": {}}}, "patternProperties"),
        ({"pattern": "("}, "pattern"),
        ({"enum": ["x" * 70_000]}, "larger than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_schema_that_nothing_can_be_held_to_is_refused_first(schema, words):
    request = chat_request(response_format={"type": "json_schema", "json_schema": {"strict": True, "schema": schema}})
    with pytest.raises(BadRequest, match=words) as caught:
        promises.check(request)
    assert caught.value.param == "response_format"


def test_a_property_may_have_the_name_of_a_keyword():
    schemas.checked({"properties": {"patternProperties": {"type": "string"}, "$ref": {"type": "string"}}})


def test_a_schema_that_is_not_strict_is_the_servers_to_understand():
    promises.check(chat_request(response_format={"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}}))


def doubling(depth: int) -> dict[str, Any]:
    """Return a schema whose check takes twice as long with every step of ``depth``."""
    steps = {f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(depth)}
    return {"$ref": "#/$defs/s0", "$defs": steps | {f"s{depth}": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(a|aa)+$"}, json.dumps("a" * 60 + "b")),
        ({"pattern": "(x+x+)+y"}, json.dumps("x" * 60)),
        (doubling(40), '"x"'),
        ({"$ref": "#"}, "1"),
    ],
    ids=["pattern", "another pattern", "doubling", "endless"],
)
def test_no_schema_holds_up_the_process(schema, text):
    started = time.monotonic()
    try:
        schemas.fault(text, schema)
    except schemas.BadSchema as error:
        assert "limits of time" in str(error)  # noqa: PT017
    assert time.monotonic() - started < 30


# --- asking again, with a scripted run ------------------------------------------------------------------------


class Script:
    """Answers that are given one after another; ``asked`` are the requests they were given to."""

    def __init__(self, *answers: list[ChatEvent]) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        self.closed = 0

    async def start(self, request):
        self.asked.append(request)
        try:
            for event in self.answers.pop(0):
                yield event
        finally:
            self.closed += 1


def said(text: str, reason: str = "stop", usage: Usage | None = None) -> list[ChatEvent]:
    return [Delta(content=text), Finish(reason=reason, usage=usage)]


async def run(script: Script, **asked: Any) -> list[Any]:
    return [event async for event in kept(chat_request(**asked), script.start)]


async def test_a_bad_answer_is_asked_for_again_with_what_is_wrong_with_it():
    script = Script(
        said('{"name": 5}', usage=Usage(prompt_tokens=10, completion_tokens=3)),
        said(ADA, usage=Usage(prompt_tokens=20, completion_tokens=9)),
    )
    events = await run(script, response_format=STRICT)
    assert events == said(ADA, usage=Usage(prompt_tokens=30, completion_tokens=12))
    first, second = script.asked
    assert second.messages[: len(first.messages)] == first.messages
    assert [(message.role, message.text) for message in second.messages[1:2]] == [("assistant", '{"name": 5}')]
    assert "5 is not of type 'string'" in second.messages[2].text
    assert script.closed == 2


async def test_a_second_bad_answer_is_an_error():
    script = Script(said("no"), said("still no"))
    with pytest.raises(PromiseBroken, match="not JSON") as caught:
        await run(script, response_format=OBJECT)
    error = caught.value
    assert (error.status, error.code, error.param) == (502, "invalid_json_answer", "response_format")
    assert error.should_retry is False
    assert len(script.asked) == 2


async def test_what_went_out_is_not_asked_for_again():
    script = Script(said("no"))
    with pytest.raises(PromiseBroken):
        await run(script, response_format=OBJECT, stream=True)
    assert len(script.asked) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_cut_short_says_so_itself(stream):
    cut = said('{"name": "A', reason="length")
    assert await run(Script(cut), response_format=STRICT, stream=stream) == cut


async def test_an_answer_that_calls_a_tool_is_no_json():
    events = [called(), Finish(reason="tool_calls")]
    assert await run(Script(events), response_format=OBJECT, tools=[tool()]) == events


BORNE = ("tools.function.strict",)


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        ([called(arguments='{"city": "Rome"}')], None),
        ([called(arguments='{"ci'), called(arguments='ty": "Rome"}', name=None)], None),
        ([called("other", '{"city": 5}')], None),  # not declared as strict
        (
            [called(arguments='{"city": 5}')],
            "get_weather do not fit: at $.city: 5 is not of type 'string'",
        ),
        ([called(arguments="{}")], "'city' is a required property"),
        ([called(arguments='{"city": "Rome", "x": 1}')], "Additional properties are not allowed"),
        ([called(arguments='{"city": "Ro')], "it is not JSON"),
    ],
    ids=str,
)
async def test_calls_of_strict_functions_are_asked_for_once_more_where_they_do_not_fit(calls, problem):
    good = called(arguments='{"city": "Rome"}')
    script = Script([*calls, Finish(reason="tool_calls")], [good, Finish(reason="tool_calls")])
    events = await run(script, tools=[strict(), tool("other")])
    assert [event.adjusted for event in events if isinstance(event, Finish)] == [()]
    if problem is None:
        assert (events[:-1], len(script.asked)) == (calls, 1)
    else:
        assert events[:-1] == [good]
        assert problem in script.asked[1].messages[-1].text


@pytest.mark.parametrize("stream", [True, False])
async def test_a_strict_call_that_does_not_fit_goes_out_in_the_end_and_is_said_not_to(stream):
    bad = [called(arguments='{"city": 5}'), Finish(reason="tool_calls")]
    script = Script(bad, bad)
    events = await run(script, tools=[strict()], stream=stream)
    assert events == [bad[0], Finish(reason="tool_calls", adjusted=BORNE)]
    assert len(script.asked) == (1 if stream else 2)


async def test_parameters_that_are_no_schema_are_said_to_hold_nothing():
    unusable = strict()
    unusable["function"]["parameters"] = {"type": "strange"}
    script = Script([called(), Finish(reason="tool_calls")])
    assert (await run(script, tools=[unusable], stream=True))[-1].adjusted == BORNE


async def test_leaving_early_closes_the_run():
    script = Script(said("a"))
    events = kept(chat_request(response_format=OBJECT, stream=True), script.start)
    await anext(events)
    await events.aclose()
    assert script.closed == 1


# --- through the whole door ----------------------------------------------------------------------------------

WEATHER = ToolCall(name="get_weather", arguments={"city": "Rome"})


def ask(served, *, text: str = "Weather?", **fields: Any):
    messages = [{"role": "user", "content": text}]
    return served.client().chat.completions.create(**{"model": "general", "messages": messages} | fields)


def chats(server) -> list[Any]:
    return [request.json for request in server.work_at("/api/chat")]


@pytest.mark.served
class TestToolChoice:
    @pytest.mark.parametrize("choice", ["required", NAMED], ids=["required", "named"])
    def test_is_said_to_the_model_and_asked_for_once_more(self, served_ollama, ollama, choice):
        ollama.reply(Reply(content="It is sunny."))
        ollama.reply(Reply(tool_calls=[WEATHER]))
        answer = ask(served_ollama, tools=[tool(), tool("other")], tool_choice=choice).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.tool_calls[0].function.name == "get_weather"
        first, second = chats(ollama)
        assert len(first["tools"]) == (2 if choice == "required" else 1)
        assert "must be a call" in first["messages"][0]["content"]
        assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "user"]

    def test_a_strict_function_is_called_as_it_is_declared(self, served_ollama, ollama):
        ollama.reply(Reply(tool_calls=[ToolCall(name="get_weather", arguments={"town": "Rome"})]))
        ollama.reply(Reply(tool_calls=[WEATHER]))
        (call,) = ask(served_ollama, tools=[strict()]).choices[0].message.tool_calls
        assert json.loads(call.function.arguments) == {"city": "Rome"}
        assert "'city' is a required property" in chats(ollama)[1]["messages"][-1]["content"]

    def test_one_that_is_called_otherwise_is_told(self, served_ollama, ollama):
        ollama.reply(Reply(tool_calls=[ToolCall(name="get_weather", arguments={"town": "Rome"})]), times=4)
        body = {"model": "general", "messages": [HELLO], "tools": [strict()]}
        answer = served_ollama.http().post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        assert answer.headers["x-moe-adjusted"] == "tools.function.strict"
        response = served_ollama.http().post(
            "/v1/responses",
            json={"model": "general", "input": "Hi", "tools": [{"type": "function"} | strict()["function"]]},
        )
        assert response.headers["x-moe-adjusted"] == "tools.function.strict"

    @pytest.mark.parametrize("stream", [True, False])
    def test_unfulfilled_is_an_error_before_the_first_byte(self, served_ollama, ollama, stream):
        ollama.reply(Reply(content="It is sunny."), times=2)
        with pytest.raises(openai.InternalServerError) as caught:
            ask(served_ollama, tools=[tool()], tool_choice="required", stream=stream)
        assert (caught.value.status_code, caught.value.code) == (502, "tool_choice_unfulfilled")
        assert caught.value.response.headers["x-should-retry"] == "false"

    def test_holds_a_stream_back_with_heartbeats(self, served_ollama, ollama):
        ollama.reply(Reply(content=["It", " is", " sunny."], delay=0.2))
        ollama.reply(Reply(content=["Let me see."], tool_calls=[WEATHER], delay=0.2))
        body = {"model": "general", "messages": [HELLO], "tools": [tool()], "tool_choice": "required", "stream": True}
        text = served_ollama.http().post("/v1/chat/completions", json=body).text
        assert text.startswith(": ")
        assert "sunny" not in text
        assert "Let me see." in text
        assert "get_weather" in text
        assert text.endswith("data: [DONE]\n\n")

    def test_none_withholds_the_tools(self, served_ollama, ollama):
        ask(served_ollama, tools=[tool()], tool_choice="none")
        assert "tools" not in ollama.requests_to("/api/chat")[-1].json

    def test_only_one_call_at_a_time(self, served_ollama, ollama):
        ollama.reply(Reply(tool_calls=[WEATHER, WEATHER]), times=2)
        asked = {"model": "general", "messages": [HELLO], "tools": [tool()], "parallel_tool_calls": False}
        response = served_ollama.http().post("/v1/chat/completions", json=asked)
        assert response.headers["x-moe-adjusted"] == "parallel_tool_calls"
        assert len(response.json()["choices"][0]["message"]["tool_calls"]) == 1
        *_, last = ask(served_ollama, tools=[tool()], parallel_tool_calls=False, stream=True)
        assert last.choices[0].finish_reason == "tool_calls"
        assert last.moe == {"adjusted": ["parallel_tool_calls"]}


class Person(pydantic.BaseModel):
    name: str
    age: int


@pytest.mark.served
class TestJson:
    def test_parse_of_the_sdk(self, served_ollama, ollama):
        ollama.reply(Reply(content='{"name": "Ada"}'))
        ollama.reply(Reply(content=['{"name": "Ada",', ' "age": 36}']))
        answer = served_ollama.client().chat.completions.parse(
            model="general", messages=[HELLO], response_format=Person
        )
        assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
        first, second = chats(ollama)
        assert first["format"]["properties"]["age"]["type"] == "integer"
        assert "'age' is a required property" in second["messages"][-1]["content"]

    def test_a_stream_ends_with_an_error_if_it_was_none(self, served_ollama, ollama):
        ollama.reply(Reply(content=["Sure! ", ADA]))
        chunks = []
        with pytest.raises(openai.APIError) as caught:
            for chunk in ask(served_ollama, response_format=OBJECT, stream=True):
                chunks.append(chunk)
        assert caught.value.code == "invalid_json_answer"
        assert all(chunk.choices[0].finish_reason is None for chunk in chunks)

    def test_an_answer_cut_short_is_passed_as_such(self, served_ollama, ollama):
        ollama.reply(Reply(content='{"name": "A', done_reason="length"))
        choice = ask(served_ollama, response_format=STRICT).choices[0]
        assert (choice.finish_reason, choice.message.content) == ("length", '{"name": "A')

    def test_a_schema_that_is_none_is_refused_before_a_model_is_asked(self, served_ollama, ollama):
        broken = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "odd"}}}
        with pytest.raises(openai.BadRequestError) as caught:
            ask(served_ollama, response_format=broken, stream=True)
        assert caught.value.param == "response_format"
        assert chats(ollama) == []


@pytest.mark.served
class TestWhatIsNotRead:
    @pytest.mark.parametrize("stream", [True, False])
    def test_is_named_in_a_header_and_in_the_log(self, served_ollama, stream):
        asked = {"model": "general", "messages": [HELLO], "stream": stream, "frobnicate": 1, "options": {"mirostat": 1}}
        response = served_ollama.http().post(
            "/v1/chat/completions", json=asked, headers={"X-Request-ID": f"ignoring-{stream}"}
        )
        assert response.headers["x-moe-ignored"] == "frobnicate,options.mirostat"
        [line] = [line for line in served_ollama.output().splitlines() if f"request_id=ignoring-{stream} names" in line]
        assert line.endswith("names=frobnicate,options.mirostat")

    def test_is_nothing_mostly(self, served_ollama):
        raw = served_ollama.client().chat.completions.with_raw_response.create(
            model="general", messages=[HELLO], user="me", store=True
        )
        assert "x-moe-ignored" not in raw.headers

    def test_an_image_of_this_network_is_not_fetched(self, served_ollama, ollama):
        part = {"type": "image_url", "image_url": {"url": f"{ollama.url}/api/version"}}
        with pytest.raises(openai.BadRequestError) as caught:
            served_ollama.client().chat.completions.create(model="auto", messages=[{"role": "user", "content": [part]}])
        assert (caught.value.param, caught.value.code) == ("messages[0].content[0]", "invalid_image_url")
        assert "FETCH_ALLOWED_HOSTS" in caught.value.message
        assert chats(ollama) == []
