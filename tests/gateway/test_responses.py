"""Responses through the whole door, with OpenAI's SDK, on an Ollama server whose behaviour is scripted."""

import base64
import json

import openai
import pytest
from pydantic import BaseModel

from tests.scripted import Piece, Reply, ToolCall

pytestmark = pytest.mark.served

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ROME = ToolCall(name="weather", arguments={"city": "Rome"})


class City(BaseModel):
    name: str
    people: int


def sent(server):
    """Return what the model server was asked last."""
    return server.requests_to("/api/chat")[-1].json


def asked(**fields):
    return {"model": "general", "input": "Hello"} | fields


class TestAnswers:
    def test_a_text(self, served_ollama, ollama):
        ollama.reply(Reply(content=["Hel", "lo."], prompt_tokens=7, completion_tokens=3))
        raw = served_ollama.client().responses.with_raw_response.create(**asked(instructions="Be kind."))
        answer = raw.parse()
        assert (answer.status, answer.output_text, answer.error) == ("completed", "Hello.", None)
        assert answer.id.startswith("resp_")
        assert (answer.instructions, answer.store, answer.truncation) == ("Be kind.", False, "disabled")
        usage = answer.usage
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 3, 10)
        assert usage.output_tokens_details.reasoning_tokens == 0
        assert raw.headers["x-moe-expert"] == answer.model == "general"
        assert sent(ollama)["messages"] == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
        ]

    def test_one_that_is_cut_short_is_incomplete(self, served_ollama, ollama):
        ollama.reply(Reply(content="One, two", done_reason="length"))
        answer = served_ollama.client().responses.create(**asked(max_output_tokens=2))
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert answer.output[0].status == "incomplete"
        assert answer.output_text == "One, two"
        assert sent(ollama)["options"]["num_predict"] == 2

    def test_json_of_a_schema_as_the_sdk_reads_it(self, served_ollama, ollama):
        ollama.reply(Reply(content='{"name": "Rome", "people": 2748109}'))
        answer = served_ollama.client().responses.parse(**asked(text_format=City))
        assert answer.output_parsed == City(name="Rome", people=2748109)
        assert sent(ollama)["format"]["required"] == ["name", "people"]

    def test_json_that_does_not_fit_is_an_error_in_the_names_of_this_door(self, served_ollama, ollama):
        ollama.reply(Reply(content="Rome"), times=2)
        with pytest.raises(openai.InternalServerError, match=r"'text\.format'") as caught:
            served_ollama.client().responses.parse(**asked(text_format=City))
        assert (caught.value.code, caught.value.param) == ("invalid_json_answer", "text.format")

    def test_an_image_goes_to_a_model_that_sees(self, served_ollama, ollama):
        image = base64.b64encode(b"not really a picture").decode()
        parts = [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": f"data:image/png;base64,{image}", "detail": "auto"},
        ]
        served_ollama.client().responses.create(model="auto", input=[{"role": "user", "content": parts}])
        assert sent(ollama)["model"] == "llava:7b"
        assert sent(ollama)["messages"][-1] == {"role": "user", "content": "What is this?", "images": [image]}

    def test_a_file_of_text_is_read_by_its_data_and_by_its_id(self, served_ollama, ollama):
        client = served_ollama.client()
        file = client.files.create(file=("leave.md", b"Sick leave is approved by the lead."), purpose="user_data")
        data = base64.b64encode("Urlaub für alle.".encode()).decode()
        parts = [
            {"type": "input_file", "file_id": file.id},
            {"type": "input_file", "filename": "u.txt", "file_data": f"data:text/plain;base64,{data}"},
            {"type": "input_text", "text": "Who approves?"},
        ]
        client.responses.create(**asked(input=[{"role": "user", "content": parts}]))
        told = sent(ollama)["messages"][-1]["content"]
        assert '<file name="leave.md">\nSick leave is approved by the lead.\n</file>' in told
        assert '<file name="u.txt">\nUrlaub für alle.\n</file>' in told
        with pytest.raises(openai.NotFoundError, match="file-00000000000000000000000000000000"):
            part = {"type": "input_file", "file_id": "file-" + "0" * 32}
            client.responses.create(**asked(input=[{"role": "user", "content": [part]}]))

    def test_log_probabilities_where_they_are_included(self, served_ollama, ollama):
        ollama.reply(Reply(content=["Yes", "."], logprobs=(-0.5, -0.1)))
        include = ["message.output_text.logprobs"]
        answer = served_ollama.client().responses.create(**asked(include=include, top_logprobs=2))
        [first, _] = answer.output[0].content[0].logprobs
        assert (first.token, first.logprob, len(first.top_logprobs)) == ("Yes", -0.5, 2)

    def test_the_why_for_who_asks(self, served_ollama):
        answer = served_ollama.client().responses.create(**asked(extra_body={"moe": {"explain": True}}))
        assert answer.moe["expert"] == "general"


class TestThinking:
    def test_as_the_models_own_words(self, served_ollama, ollama):
        ollama.reply(Reply(thinking=["Hm", "m."], content="Yes."))
        answer = served_ollama.client().responses.create(**asked(model="reasoning", reasoning={"effort": "low"}))
        [thought, message] = answer.output
        assert (thought.type, thought.summary, thought.content[0].text) == ("reasoning", [], "Hmm.")
        assert message.content[0].text == "Yes."
        assert sent(ollama)["think"] == "low"

    def test_as_a_summary_for_who_asks_for_one(self, served_ollama, ollama):
        ollama.reply(Reply(thinking=["Hm", "m."], content="Yes."))
        seen = []
        fields = asked(model="reasoning", reasoning={"summary": "auto"})
        with served_ollama.client().responses.stream(**fields) as stream:
            seen = [event for event in stream if "summary" in event.type]
            thought = stream.get_final_response().output[0]
        assert [part.text for part in thought.summary] == ["Hmm."]
        assert [event.type.removeprefix("response.reasoning_summary_") for event in seen] == [
            "part.added", "text.delta", "text.delta", "text.done", "part.done",
        ]  # fmt: skip

    def test_sealed_it_comes_back_to_the_model(self, served_ollama, ollama):
        client, fields = served_ollama.client(), asked(model="reasoning")
        ollama.reply(Reply(thinking="A secret plan.", content="Yes."))
        first = client.responses.create(
            **fields, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"}
        )
        token = first.output[0].encrypted_content
        assert "secret" not in token
        sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": token}
        said = {"role": "assistant", "content": "Yes."}
        history = [{"role": "user", "content": "Hello"}, sealed, said, {"role": "user", "content": "And?"}]
        client.responses.create(**fields | {"input": history})
        assert sent(ollama)["messages"][-2] == {"role": "assistant", "content": "Yes.", "thinking": "A secret plan."}
        sealed["encrypted_content"] = "of another endpoint"
        raw = client.responses.with_raw_response.create(**fields | {"input": history})
        assert raw.headers["x-moe-ignored"] == "input.encrypted_content"


class TestStreams:
    def test_in_openais_order(self, served_ollama, ollama):
        ollama.reply(Reply(thinking="Hm.", content=["Hé", "llo"], tool_calls=[ROME], split_bytes=1))
        with served_ollama.client().responses.create(**asked(model="llama3.2:3b", tools=[WEATHER], stream=True)) as it:
            assert it.response.headers["content-type"].startswith("text/event-stream")
            events = list(it)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert [event.type.removeprefix("response.") for event in events] == [
            "created", "in_progress",
            "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
            "content_part.done", "output_item.done",
            "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
            "content_part.done", "output_item.done",
            "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
            "completed",
        ]  # fmt: skip
        assert (events[0].response.status, events[0].response.output) == ("in_progress", [])
        last = events[-1].response
        assert [item.type for item in last.output] == ["reasoning", "message", "function_call"]
        done = [event.item for event in events if event.type == "response.output_item.done"]
        assert [item.to_dict() for item in done] == [item.to_dict() for item in last.output]

    def test_the_sdks_helper_puts_them_together(self, served_ollama, ollama):
        cities = ("Rome", "Oslo")
        calls = [ToolCall(name="weather", arguments={"city": city}, index=0) for city in cities]
        ollama.reply(Reply(content="I look.", tool_calls=calls, tool_calls_together=False))
        with served_ollama.client().responses.stream(**asked(tools=[WEATHER])) as stream:
            answer = stream.get_final_response()
        message, *found = answer.output
        assert message.content[0].text == "I look."
        assert [call.parsed_arguments for call in found] == [{"city": city} for city in cities]
        assert len({call.call_id for call in found}) == 2

    def test_a_pydantic_answer(self, served_ollama, ollama):
        ollama.reply(Reply(content=['{"name": "Ro', 'me", "people": 3}']))
        with served_ollama.client().responses.stream(**asked(text_format=City)) as stream:
            assert stream.get_final_response().output_parsed == City(name="Rome", people=3)

    def test_comments_while_a_model_loads_and_the_answer_after_it(self, served_ollama, ollama):
        ollama.reply(Reply(content="Here.", load_delay=1.0))
        response = served_ollama.http().post("/v1/responses", json=asked(stream=True))
        assert response.text.count(": waiting for the model\n\n") >= 2
        assert "event: response.completed\ndata: {" in response.text
        assert "[DONE]" not in response.text

    def test_an_error_in_the_middle_is_told_and_raised(self, served_ollama, ollama):
        ollama.reply(Reply(content=["One", "two", "three"], error_after=2))
        seen = []
        with (
            pytest.raises(openai.APIError, match="terminated") as caught,
            served_ollama.client().responses.create(**asked(stream=True)) as stream,
        ):
            seen.extend(stream)
        assert caught.value.code == "upstream_error"
        failed = seen[-1]
        assert (failed.type, failed.response.status) == ("response.failed", "failed")
        assert (failed.response.error.code, "terminated" in failed.response.error.message) == ("upstream_error", True)
        assert failed.response.output[0].content[0].text == "Onetwo"

    def test_an_error_after_the_first_comment_begins_a_response_that_failed(self, served_ollama, ollama):
        ollama.reply(Reply(status=500, error="not enough memory", load_delay=0.8))
        types = []
        with (
            pytest.raises(openai.APIError, match="not enough memory"),
            served_ollama.client().responses.create(**asked(stream=True)) as stream,
        ):
            types.extend(event.type for event in stream)
        assert types == ["response.created", "response.in_progress", "response.failed"]

    def test_an_error_before_the_first_event_has_its_status(self, served_ollama, ollama):
        ollama.reply(Reply(status=500, error="runner died"))
        with pytest.raises(openai.InternalServerError, match="runner died"):
            served_ollama.client().responses.create(**asked(stream=True))

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_client_that_leaves_stops_the_model(self, served_ollama, ollama, stream):
        ollama.reply(Reply(content=["word "] * 200, delay=0.1))
        if stream:
            with served_ollama.client().responses.create(**asked(stream=True)) as events:
                for event in events:
                    if event.type == "response.output_text.delta":
                        break
        else:
            with served_ollama.dial("/v1/responses", asked()):
                ollama.wait_for_work("/api/chat")
        assert ollama.requests_to("/api/chat")[-1].wait_disconnected()


class TestTools:
    def test_an_agent_that_runs_commands_until_it_knows(self, served_ollama, ollama):
        """As Codex does it: stateless, with all items of all turns in each request."""
        shell = {
            "type": "function",
            "name": "shell",
            "strict": False,
            "parameters": {
                "type": "object",
                "properties": {
                    "command": {"type": "array", "items": {"type": "string"}},
                    "timeout_ms": {"type": "number"},
                },
                "required": ["command"],
                "additionalProperties": False,
            },
        }
        patch = {
            "type": "custom",
            "name": "apply_patch",
            "description": "Use it to edit files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'},
        }
        turns = [
            Reply(content="I look around.", tool_calls=[
                ToolCall(name="shell", arguments={"command": ["ls"]}),
                ToolCall(name="shell", arguments={"command": ["cat", "a.py"]}),
            ]),
            Reply(tool_calls=[ToolCall(name="apply_patch", arguments={"input": "*** Begin Patch\n*** End Patch"})]),
            Reply(content="It is mended."),
        ]  # fmt: skip
        client, items = served_ollama.client(), [{"type": "message", "role": "user", "content": "Mend a.py"}]
        for turn in turns:
            ollama.reply(turn)
            with client.responses.create(
                model="llama3.2:3b",
                instructions="You are a coding agent.",
                input=items,
                tools=[shell, patch],
                tool_choice="auto",
                parallel_tool_calls=True,
                reasoning={"effort": "none", "summary": "auto"},
                store=False,
                stream=True,
                include=["reasoning.encrypted_content"],
                prompt_cache_key="0199",
            ) as stream:
                said = [event.item for event in stream if event.type == "response.output_item.done"]
            items += [item.to_dict() for item in said]
            outputs = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
            items += [
                {"type": outputs[item.type], "call_id": item.call_id, "output": f"done {item.name}"}
                for item in said
                if item.type in outputs
            ]
        assert said[-1].content[0].text == "It is mended."
        edited = next(item for item in items if item["type"] == "custom_tool_call")
        assert (edited["name"], edited["input"]) == ("apply_patch", "*** Begin Patch\n*** End Patch")
        [system, _, first, *outputs, second, patched] = sent(ollama)["messages"]
        assert system["content"] == "You are a coding agent."
        assert first["content"] == "I look around."
        commands = [call["function"]["arguments"]["command"] for call in first["tool_calls"]]
        assert commands == [["ls"], ["cat", "a.py"]]
        assert [(one["role"], one["tool_name"], one["content"]) for one in outputs] == [
            ("tool", "shell", "done shell")
        ] * 2
        assert second["tool_calls"][0]["function"]["arguments"] == {"input": "*** Begin Patch\n*** End Patch"}
        assert (patched["tool_name"], patched["content"]) == ("apply_patch", "done apply_patch")
        offered = {tool["function"]["name"]: tool["function"] for tool in sent(ollama)["tools"]}
        assert offered["apply_patch"]["parameters"]["required"] == ["input"]
        assert "Begin Patch" in offered["apply_patch"]["parameters"]["properties"]["input"]["description"]

    def test_one_that_must_be_called(self, served_ollama, ollama):
        ollama.reply(Reply(content="Sunny."))
        ollama.reply(Reply(tool_calls=[ROME]))
        choice = {"type": "function", "name": "weather"}
        answer = served_ollama.client().responses.create(**asked(tools=[WEATHER], tool_choice=choice))
        assert [item.type for item in answer.output] == ["function_call"]
        assert (answer.tool_choice.name, answer.tools[0].name) == ("weather", "weather")

    def test_one_in_the_middle_of_the_text(self, served_ollama, ollama):
        ollama.reply(Reply(content=[Piece(content="Let me see. ", tool_calls=(ROME,)), "Done."]))
        answer = served_ollama.client().responses.create(**asked(tools=[WEATHER]))
        assert [item.type for item in answer.output] == ["message", "function_call", "message"]
        assert answer.output_text == "Let me see. Done."

    def test_openais_own_are_refused_by_name(self, served_ollama):
        with pytest.raises(openai.BadRequestError, match=r"'web_search'.*not supported") as caught:
            served_ollama.client().responses.create(**asked(tools=[{"type": "web_search"}]))
        assert (caught.value.param, caught.value.code) == ("tools[0]", "unsupported_parameter")


@pytest.fixture(scope="module")
def store(_served_ollama):
    """The id of a vector store with one file."""
    client = _served_ollama.client()
    store = client.vector_stores.create(name="Leave")
    file = ("leave.md", b"Sick leave is approved by the team lead.")
    client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=file)
    return store.id


class TestFileSearch:
    def search(self, store, **fields):
        tools = [{"type": "file_search", "vector_store_ids": [store], "max_num_results": 3}]
        return asked(input="Who approves sick leave?", tools=tools) | fields

    def test_an_answer_with_citations_of_files(self, served_ollama, ollama, store):
        ollama.reply(Reply(content=["The team ", "lead [1]", "."]))
        fields = self.search(store, include=["file_search_call.results"])
        with served_ollama.client().responses.stream(**fields) as stream:
            types = [event.type for event in stream]
            answer = stream.get_final_response()
        [search, message] = answer.output
        assert (search.type, search.status, search.queries) == (
            "file_search_call", "completed", ["Who approves sick leave?"],
        )  # fmt: skip
        assert search.results[0].filename == "leave.md"
        text = message.content[0]
        [cited] = text.annotations
        assert (cited.type, cited.filename, cited.file_id) == ("file_citation", "leave.md", search.results[0].file_id)
        assert text.text[cited.index :].startswith("[1]")
        assert answer.sources[0]["cited"]
        assert types[2:7] == [
            "response.output_item.added",
            "response.file_search_call.in_progress",
            "response.file_search_call.searching",
            "response.file_search_call.completed",
            "response.output_item.done",
        ]
        annotated = types.index("response.output_text.annotation.added")
        assert types[annotated + 1] == "response.output_text.done"

    def test_without_the_tool_a_citation_is_an_address(self, served_ollama, ollama, store):
        ollama.reply(Reply(content="The team lead [1]."))
        body = {"rag": {"collections": [store]}}
        answer = served_ollama.client().responses.create(**asked(input="Who approves sick leave?", extra_body=body))
        [message] = answer.output
        [cited] = message.content[0].annotations
        assert cited.type == "url_citation"
        assert message.content[0].text[cited.start_index : cited.end_index] == "[1]"
        assert "/sources/" in cited.url

    def test_a_store_that_is_not_there(self, served_ollama):
        with pytest.raises(openai.NotFoundError) as caught:
            served_ollama.client().responses.create(**self.search("vs_" + "0" * 32))
        assert (caught.value.param, caught.value.code) == ("tools", "vector_store_not_found")
        assert f"There is no vector store 'vs_{'0' * 32}'. GET /v1/vector_stores lists" in caught.value.message

    def test_a_choice_of_none_searches_nothing(self, served_ollama, ollama, store):
        fields = self.search(store, tool_choice="none")
        answer = served_ollama.client().responses.create(**fields)
        assert [item.type for item in answer.output] == ["message"]
        assert sent(ollama)["messages"][-1]["content"] == "Who approves sick leave?"


def test_what_nobody_reads_is_named(served_ollama):
    raw = served_ollama.client().responses.with_raw_response.create(
        **asked(truncation="auto", user="jo", extra_body={"colour": 2, "reasoning": {"context": "auto"}})
    )
    assert set(raw.headers["x-moe-ignored"].split(",")) == {"colour", "reasoning.context", "truncation"}
    assert (raw.parse().truncation, raw.parse().user) == ("disabled", "jo")


def test_a_conversation_that_is_not_kept_says_what_would_keep_it(served_ollama):
    with pytest.raises(openai.BadRequestError, match="keep texts") as caught:
        served_ollama.client().responses.create(**asked(previous_response_id="resp_" + "0" * 32))
    assert caught.value.param == "previous_response_id"
    reference = json.loads('[{"type": "item_reference", "id": "msg_1"}]')
    with pytest.raises(openai.BadRequestError, match="keep texts") as caught:
        served_ollama.client().responses.create(**asked(input=reference))
    assert caught.value.code == "item_not_found"
