"""Responses that are kept: continued, read, listed and deleted by the key they were made with, and by no other."""

import json

import openai
import pytest

from tests.scripted import Reply, ToolCall
from tests.serving import Served

pytestmark = pytest.mark.served

ROME = ToolCall(name="weather", arguments={"city": "Rome"})
WEATHER = {"type": "function", "name": "weather", "strict": False, "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def texts(_served_ollama: Served) -> list[str]:
    """The texts of two keys whose prompts and answers are kept."""
    return [_served_ollama.new_key(name, "--keep-texts") for name in ("keeper", "other keeper")]


@pytest.fixture
def keeper(served_ollama, texts) -> openai.OpenAI:
    return served_ollama.client(api_key=texts[0])


@pytest.fixture
def other(served_ollama, texts) -> openai.OpenAI:
    return served_ollama.client(api_key=texts[1])


def asked(**fields):
    return {"model": "general", "input": "Hello"} | fields


def messages(server):
    """Return what the model server was told last, without the expert's own system prompt."""
    told = server.requests_to("/api/chat")[-1].json["messages"]
    return [(one["role"], one["content"]) for one in told if one["role"] != "system"]


class TestContinuing:
    @pytest.mark.parametrize("stream", [False, True])
    def test_right_after_the_end_of_the_answer(self, keeper, ollama, stream):
        ollama.reply(Reply(content="Hi, Jo."))
        fields = asked(input="I am Jo.", instructions="Be brief.")
        if stream:
            with keeper.responses.stream(**fields) as events:
                first = events.get_final_response()
        else:
            first = keeper.responses.create(**fields)
        assert first.store
        ollama.reply(Reply(content="Jo."))
        second = keeper.responses.create(**asked(input="Who am I?", previous_response_id=first.id))
        assert second.previous_response_id == first.id
        conversation = [("user", "I am Jo."), ("assistant", "Hi, Jo."), ("user", "Who am I?")]
        assert messages(ollama) == conversation
        assert "Be brief." not in json.dumps(ollama.requests_to("/api/chat")[-1].json)
        keeper.responses.create(**asked(input="Sure?", previous_response_id=second.id, instructions="Be kind."))
        assert messages(ollama) == [*conversation, ("assistant", "Jo."), ("user", "Sure?")]
        assert ollama.requests_to("/api/chat")[-1].json["messages"][0]["content"] == "Be kind."

    def test_with_what_a_tool_said(self, keeper, ollama):
        ollama.reply(Reply(tool_calls=[ROME]))
        first = keeper.responses.create(**asked(tools=[WEATHER]))
        output = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "sunny"}
        keeper.responses.create(**asked(input=[output], tools=[WEATHER], previous_response_id=first.id))
        [_, call, tool] = ollama.requests_to("/api/chat")[-1].json["messages"][-3:]
        assert call["tool_calls"][0]["function"]["name"] == tool["tool_name"] == "weather"
        with pytest.raises(openai.BadRequestError, match="No tool output found"):
            keeper.responses.create(**asked(tools=[WEATHER], previous_response_id=first.id))

    def test_the_conversation_stays_with_its_expert_whatever_the_instructions(self, keeper, ollama):
        question = "Write a rhyming poem of four stanzas about the sea in autumn."
        raw = keeper.responses.with_raw_response.create(model="auto", input=question, instructions="Be brief.")
        expert = raw.headers["x-moe-expert"]
        assert expert != "general"
        raw = keeper.responses.with_raw_response.create(
            model="auto", input="Thank you. Why?", previous_response_id=raw.parse().id
        )
        assert (raw.headers["x-moe-expert"], raw.headers["x-moe-route"]) == (expert, "held")

    def test_by_references_to_single_items(self, keeper, other, ollama):
        ollama.reply(Reply(content="Hi."))
        first = keeper.responses.create(**asked())
        reference = {"type": "item_reference", "id": first.output[0].id}
        items = [{"role": "user", "content": "Hello"}, reference, {"role": "user", "content": "And?"}]
        keeper.responses.create(**asked(input=items))
        assert messages(ollama) == [("user", "Hello"), ("assistant", "Hi."), ("user", "And?")]
        with pytest.raises(openai.BadRequestError) as caught:
            other.responses.create(**asked(input=items))
        assert (caught.value.code, caught.value.param) == ("item_not_found", "input[1]")

    def test_not_by_another_key(self, keeper, other, served_ollama):
        first = keeper.responses.create(**asked())
        with pytest.raises(openai.NotFoundError) as caught:
            other.responses.create(**asked(previous_response_id=first.id))
        assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
        with pytest.raises(openai.BadRequestError, match="keep texts"):
            served_ollama.client().responses.create(**asked(previous_response_id=first.id))

    def test_not_where_a_response_before_it_was_deleted(self, keeper):
        first = keeper.responses.create(**asked())
        second = keeper.responses.create(**asked(previous_response_id=first.id))
        keeper.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError, match=first.id):
            keeper.responses.create(**asked(previous_response_id=second.id))

    def test_not_where_it_was_not_to_be_stored(self, keeper):
        first = keeper.responses.create(**asked(store=False))
        assert first.store is False
        with pytest.raises(openai.NotFoundError):
            keeper.responses.create(**asked(previous_response_id=first.id))

    def test_a_failed_one_is_not_kept(self, keeper, ollama):
        ollama.reply(Reply(content=["One", "two"], error_after=1))
        response = None
        with pytest.raises(openai.APIError), keeper.responses.create(**asked(stream=True)) as stream:
            for event in stream:
                response = getattr(event, "response", response)
        assert (response.status, response.store) == ("failed", False)
        with pytest.raises(openai.NotFoundError):
            keeper.responses.retrieve(response.id)

    def test_what_no_database_can_hold_is_kept_as_near_as_can_be(self, keeper, ollama):
        ollama.reply(Reply(content="nul \0 nul"))
        first = keeper.responses.create(**asked(input="a\0b"))
        assert (first.store, first.output_text) == (True, "nul \0 nul")
        assert keeper.responses.retrieve(first.id).output_text == "nul \ufffd nul"


class TestKept:
    def test_a_response_is_read_as_it_was_sent(self, keeper, ollama):
        ollama.reply(Reply(content="Hi."))
        first = keeper.responses.create(**asked(metadata={"team": "sales"}))
        again = keeper.responses.retrieve(first.id)
        assert again.to_dict() == first.to_dict()

    def test_its_input_is_listed(self, keeper):
        items = [
            {"role": "user", "content": "One"},
            {"role": "assistant", "content": "Two"},
            {"role": "user", "content": [{"type": "input_text", "text": "Three"}]},
        ]
        first = keeper.responses.create(**asked(input=items))
        listed = keeper.responses.input_items.list(first.id, order="asc", limit=2)
        assert [(item.role, item.content[0].text) for item in listed.data] == [("user", "One"), ("assistant", "Two")]
        assert listed.has_more
        assert [item.content[0].text for item in keeper.responses.input_items.list(first.id, limit=1)] == [
            "Three", "Two", "One",
        ]  # fmt: skip

    def test_a_deleted_one_is_gone(self, keeper):
        first = keeper.responses.create(**asked())
        keeper.responses.delete(first.id)
        for call in (keeper.responses.retrieve, keeper.responses.delete, keeper.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                call(first.id)

    @pytest.mark.parametrize("path", ["", "/input_items"])
    def test_it_does_not_exist_for_others(self, keeper, other, served_ollama, path):
        first = keeper.responses.create(**asked())
        http = served_ollama.http()
        for key in (other.api_key, served_ollama.api_key):
            headers = {"Authorization": f"Bearer {key}"}
            theirs = http.get(f"/v1/responses/{first.id}{path}", headers=headers)
            nobodys = http.get(f"/v1/responses/resp_{'0' * 32}{path}", headers=headers)
            assert (theirs.status_code, nobodys.status_code) == (404, 404)
            assert theirs.text.replace(first.id, f"resp_{'0' * 32}") == nobodys.text
            assert http.delete(f"/v1/responses/{first.id}", headers=headers).status_code == 404
        assert keeper.responses.retrieve(first.id).id == first.id
