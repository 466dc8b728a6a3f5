"""Requests for responses, from their JSON: what is read of them, and what is refused how."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fields import json_object
from gateway.guards.texts import rewritten
from gateway.responses.ids import new_response_id, response_of
from gateway.responses.items import kept
from gateway.responses.masking import swapped, swaps_of
from gateway.responses.parts import Attachment, named_in
from gateway.responses.request import Before, read_response
from gateway.responses.sealing import opened, sealed
from routing.backends import codec
from routing.backends.protocol import Image
from routing.conversations import turn_keys
from routing.exceptions import BadRequest

RESPONSE = "resp_" + "0" * 32
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "name": "apply_patch"}
AGENTS = {
    "type": "namespace",
    "name": "agents",
    "description": "Runs other agents.",
    "tools": [{"type": "function", "name": "spawn", "description": "Starts one."}, CUSTOM],
}
SEARCH = {"type": "file_search", "vector_store_ids": ["vs_1"]}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "sunny"}
USER = {"role": "user", "content": "Hello"}


def read(before=None, **fields):
    return read_response({"model": "auto", "input": "Hello"} | fields, RESPONSE, before or Before())


def refused(**fields):
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    return caught.value


def turns(*items):
    """Return the messages of a chat that ``items`` make: role, text, reasoning and names of calls."""
    messages = read(input=list(items)).chat.messages
    return [(one.role, one.text, one.reasoning, [call.name for call in one.tool_calls]) for one in messages]


def allowed(*tools):
    return {"type": "allowed_tools", "mode": "required", "tools": list(tools)}


class TestItems:
    def test_what_a_model_said_in_one_turn_is_one_message(self):
        thought = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm"}],
        }
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]}
        assert turns(USER, thought, said, CALL, OUTPUT, {"role": "user", "content": "And?"}) == [
            ("user", "Hello", "", []),
            ("assistant", "I look.", "Hm", ["weather"]),
            ("tool", "sunny", "", []),
            ("user", "And?", "", []),
        ]

    def test_texts_one_after_the_other_stay_two(self):
        said = {"role": "assistant", "content": "One."}
        assert [text for _, text, _, _ in turns(USER, said, {"role": "assistant", "content": "Two."})] == [
            "Hello", "One.", "Two.",
        ]  # fmt: skip

    def test_thinking_that_came_to_nothing_is_left_out(self):
        thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}
        assert turns(USER, thought, USER) == [("user", "Hello", "", [])] * 2

    def test_a_call_and_its_output_keep_together(self):
        [_, call, output] = read(input=[USER, CALL, OUTPUT]).chat.messages
        assert (call.content_is_null, call.tool_calls[0].arguments) == (True, '{"city": "Rome"}')
        assert (output.tool_call_id, output.name) == ("c1", "weather")

    def test_an_output_may_be_parts(self):
        parts = [
            {"type": "input_text", "text": "sunny"},
            {"type": "input_image", "image_url": "data:image/png;base64,eA=="},
        ]
        [_, _, output] = read(input=[USER, CALL, {**OUTPUT, "output": parts}]).chat.messages
        assert (output.text, len(output.images)) == ("sunny", 1)

    def test_a_custom_call_is_one_of_a_function_with_one_text(self):
        call = {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": 'a "b"\n'}
        output = {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"}
        message = read(input=[USER, call, output]).chat.messages[1]
        assert json.loads(message.tool_calls[0].arguments) == {"input": 'a "b"\n'}

    @pytest.mark.parametrize(
        ("items", "param", "words"),
        [
            ([OUTPUT], "input[0].call_id", "No tool call found"),
            ([USER, CALL], "input", "No tool output found"),
            ([{**CALL, "arguments": "{"}], "input[0].arguments", "JSON text of an object"),
            ([{**CALL, "call_id": None}], "input[0].call_id", "text"),
            ([{"role": "tool", "content": "x"}], "input[0].role", "one of"),
            ([{"role": "user"}], "input[0].content", "missing"),
            ([{"role": "user", "content": [{"type": "input_audio"}]}], "input[0].content[0]", "audio"),
            ([{"role": "user", "content": [{"type": "text_input"}]}], "input[0].content[0]", "input_text"),
            ([{"type": "web_search_call", "id": "ws_1"}], "input[0]", "web_search_call"),
            ([{"type": "item_reference", "id": "msg_1"}], "input[0]", "keep texts"),
            ([7], "input[0]", "must be an object"),
            ({}, "input", "a text or a list"),
            ([], "input", "empty"),
            ("", "input", "empty"),
            (None, "input", "missing"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_named(self, items, param, words):
        error = refused(input=items)
        assert (error.param, words in error.message) == (param, True), error.message

    def test_fields_nobody_reads_are_named_once(self):
        strange = {"role": "user", "content": "x", "colour": "red", "phase": None}
        assert read(input=[strange, strange]).chat.ignored == ("input.colour",)

    def test_what_came_before_goes_first_and_its_instructions_do_not_count(self):
        before = Before(items=(USER, {"type": "message", "role": "assistant", "content": "Hi."}))
        asked = read(before, input="And?", instructions="Be brief.", previous_response_id=RESPONSE)
        assert [(one.role, one.text) for one in asked.chat.messages] == [
            ("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi."), ("user", "And?"),
        ]  # fmt: skip
        assert len(asked.items) == 1

    def test_a_conversation_is_known_whatever_its_instructions(self):
        first = read(instructions="Be brief.").chat
        history = [USER, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And?"}]
        second = read(input=history, instructions="Be kind.").chat
        assert turn_keys(second, "t")[0] == turn_keys(first, "t")[1]

    def test_items_are_kept_with_ids_that_tell_their_response(self):
        [text, call] = kept([{"role": "assistant", "content": "Hi."}, CALL | {"id": "fc_mine"}], RESPONSE)
        assert (response_of(text["id"]), text["type"], text["status"]) == (RESPONSE, "message", "completed")
        assert text["content"] == [{"type": "output_text", "text": "Hi.", "annotations": []}]
        assert call["id"] == "fc_mine"
        assert response_of("fc_mine") is None


class TestParts:
    def part(self, attachments=None, **part):
        before = Before(attachments=attachments or {})
        return read(before, input=[{"role": "user", "content": [part]}]).chat.messages[0].parts[0]

    def test_a_file_of_text(self):
        data = base64.b64encode("ä".encode()).decode()
        assert (
            self.part(type="input_file", filename="/etc/x.txt", file_data=data).text
            == '<file name="x.txt">\nä\n</file>\n'
        )

    def test_files_by_their_ids(self):
        png = b"\x89PNG\r\n\x1a\n"
        files = {"file-1": Attachment(name="a.md", data=b"text"), "file-2": Attachment(name="b.png", data=png)}
        assert "text" in self.part(files, type="input_file", file_id="file-1").text
        assert self.part(files, type="input_image", file_id="file-2") == Image(
            data=base64.b64encode(png).decode(), mime="image/png"
        )
        items = [{"content": [{"type": "input_file", "file_id": "file-1"}]}, {"output": [{"file_id": "file-2"}]}]
        assert list(named_in(items)) == ["file-1", "file-2"]

    @pytest.mark.parametrize(
        ("part", "words"),
        [
            ({"type": "input_file", "file_data": base64.b64encode(b"%PDF-1.7\0\xff").decode()}, "no text in UTF-8"),
            ({"type": "input_file", "file_url": "https://example.com/a.pdf"}, "'file_data'"),
            ({"type": "input_file", "file_data": "?"}, "base64"),
            ({"type": "input_file"}, "'file_data'"),
            ({"type": "input_image"}, "'image_url'"),
            ({"type": "input_image", "image_url": "data:image/png;base64,?"}, "base64"),
        ],
    )  # fmt: skip
    def test_what_is_none_is_told(self, part, words):
        with pytest.raises(BadRequest) as caught:
            self.part(**part)
        assert words in caught.value.message


class TestTools:
    def test_functions_as_a_chat_has_them(self):
        chat = read(tools=[FUNCTION | {"strict": True, "description": "d", "defer_loading": True}]).chat
        function = {"name": "weather", "parameters": {"type": "object"}, "description": "d", "strict": True}
        assert chat.tools == ({"type": "function", "function": function},)
        assert chat.ignored == ("tools.defer_loading",)

    def test_a_search_grounds_the_answer(self):
        filters = {"type": "eq", "key": "year", "value": 2024}
        wish = read(tools=[SEARCH | {"max_num_results": 3, "filters": filters}]).chat.grounding
        assert (wish.wanted, wish.collections, wish.top_k, wish.filters) == (True, ("vs_1",), 3, filters)

    @pytest.mark.parametrize(
        ("choice", "chosen", "searched"),
        [
            ("auto", "auto", True),
            ("none", "none", False),
            ("required", "auto", True),
            ({"type": "file_search"}, "auto", True),
            ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}, True),
            (CUSTOM, {"type": "function", "function": {"name": "apply_patch"}}, True),
            (allowed({"type": "custom", "name": "apply_patch"}), "required", False),
            (allowed({"type": "file_search"}), None, True),
        ],
    )  # fmt: skip
    def test_which_are_used(self, choice, chosen, searched):
        chat = read(tools=[FUNCTION, CUSTOM, SEARCH], tool_choice=choice).chat
        assert (chat.tool_choice, chat.grounding.wanted) == (chosen, searched)

    def test_those_of_a_namespace_are_functions_with_its_name_and_description(self):
        asked = read(tools=[FUNCTION, CUSTOM, AGENTS])
        functions = [tool["function"] for tool in asked.chat.tools]
        names = ["weather", "apply_patch", "agents__spawn", "agents__apply_patch"]
        assert [function["name"] for function in functions] == names
        assert functions[2]["description"] == "Runs other agents.\n\nStarts one."
        assert (asked.tools.custom, asked.chat.ignored) == ({"apply_patch", "agents__apply_patch"}, ())

    @pytest.mark.parametrize(
        ("named", "names"),
        [
            ({"type": "namespace", "name": "agents"}, ["agents__spawn", "agents__apply_patch"]),
            ({"type": "function", "namespace": "agents", "name": "spawn"}, ["agents__spawn"]),
        ],
    )
    def test_those_of_a_namespace_can_be_chosen(self, named, names):
        chat = read(tools=[FUNCTION, AGENTS], tool_choice=allowed(named)).chat
        assert [tool["function"]["name"] for tool in chat.tools] == names

    def test_a_namespace_that_is_allowed_does_not_allow_a_function_of_the_same_name(self):
        chat = read(
            tools=[FUNCTION | {"name": "agents"}, AGENTS], tool_choice=allowed({"type": "namespace", "name": "agents"})
        ).chat
        assert [tool["function"]["name"] for tool in chat.tools] == ["agents__spawn", "agents__apply_patch"]

    @pytest.mark.parametrize("name", [None, [], {}, 1])
    def test_a_namespace_without_a_name_allows_nothing(self, name):
        error = refused(tools=[FUNCTION, AGENTS], tool_choice=allowed({"type": "namespace", "name": name}))
        assert error.param == "tool_choice"

    def test_calls_and_outputs_tell_their_namespace(self):
        call = CALL | {"name": "spawn", "namespace": "agents"}
        asked = read(input=[USER, call, OUTPUT | {"namespace": "agents"}], tools=[AGENTS])
        _, said, result = asked.chat.messages
        assert (said.tool_calls[0].name, result.name, asked.chat.ignored) == ("agents__spawn", "agents__spawn", ())

    def test_allowed_ones_narrow_them(self):
        choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}
        assert [tool["function"]["name"] for tool in read(tools=[FUNCTION, CUSTOM], tool_choice=choice).chat.tools] == [
            "weather"
        ]

    @pytest.mark.parametrize(
        ("fields", "param", "words"),
        [
            ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0]", "'mcp'"),
            ({"tools": [{"type": "web_search_2025_08_26"}]}, "tools[0]", "searches the web"),
            ({"tools": [{"type": "teleport"}]}, "tools[0]", "'teleport'"),
            ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0]", "flat"),
            ({"tools": [FUNCTION, FUNCTION]}, "tools[1]", "before it"),
            ({"tools": [AGENTS, AGENTS]}, "tools[1].tools[0]", "'agents__spawn'"),
            ({"tools": [AGENTS | {"tools": []}]}, "tools[0]", "not empty"),
            ({"tools": [AGENTS | {"tools": [AGENTS]}]}, "tools[0].tools[0]", "function or custom"),
            ({"tools": [AGENTS | {"name": ""}]}, "tools[0]", "name"),
            ({"tools": [SEARCH, SEARCH]}, "tools[1]", "second"),
            ({"tools": [SEARCH | {"vector_store_ids": []}]}, "tools[0]", "vector_store_ids"),
            ({"tools": [SEARCH | {"filters": {"type": "like", "key": "a"}}]}, "tools[0].filters", "filters"),
            ({"tools": [SEARCH], "use_rag": True}, "tools", "Leave one of them out"),
            ({"tools": [CUSTOM | {"format": {"type": "grammar"}}]}, "tools[0].format", "lark or regex"),
            ({"tools": [7]}, "tools[0]", "object"),
            ({"tool_choice": "required"}, "tool_choice", "needs 'tools'"),
            ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "among"),
            ({"tool_choice": {"type": "mcp"}}, "tool_choice", "allowed_tools"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_named(self, fields, param, words):
        error = refused(**fields)
        assert (error.param, words in error.message) == (param, True), error.message


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": None}, "model", "'model' is missing"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format", "'text.format.schema'"),
        ({"text": {"format": {"type": "xml"}}}, "text.format", "'text.format.type'"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity", "'text.verbosity'"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'reasoning.effort'"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary", "'reasoning.summary'"),
        ({"max_output_tokens": 0}, "max_output_tokens", "'max_output_tokens'"),
        ({"include": ["everything"]}, "include", "reasoning.encrypted_content"),
        ({"truncation": "some"}, "truncation", "auto or disabled"),
        ({"top_logprobs": 21}, "top_logprobs", "20"),
        ({"background": True}, "background", "stream"),
    ],
)
def test_errors_have_the_names_of_this_door(fields, param, words):
    error = refused(**fields)
    assert (error.param, words in error.message) == (param, True), error.message


def test_what_is_sealed_opens_here_alone(settings):
    token = sealed("half a pair \ud83d, and more")
    assert opened(token) == "half a pair \ud83d, and more"
    assert opened(token[:-2]) is None
    settings.SECRET_KEY = "another"
    assert opened(token) is None


def test_what_guards_mask_is_masked_in_what_is_kept():
    file = {"type": "input_file", "filename": "a.txt", "file_data": base64.b64encode(b"my key").decode()}
    patch = {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "a key"}
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a key"}, file]},
        CALL | {"arguments": '{"city": "key"}'},
        patch,
        OUTPUT | {"output": "the key"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "key"}]},
        {"role": "user", "content": "user"},
    ]
    asked = read(input=items, instructions="The key.")
    shown = rewritten(asked.chat.messages, lambda text: text.replace("key", "[1]").replace("user", "[2]"))
    swaps = swaps_of(asked.chat.messages, shown)
    assert swapped({"instructions": "The key."}, swaps, {}) == {"instructions": "The [1]."}
    question, call, custom, output, parts, last = swapped(asked.items, swaps, {})
    assert [part["text"] for part in question["content"]] == ["a [1]", '<file name="a.txt">\nmy [1]\n</file>\n']
    assert (call["arguments"], custom["input"], output["output"]) == ('{"city": "[1]"}', "a [1]", "the [1]")
    assert (parts["output"][0]["text"], last["role"], last["content"][0]["text"]) == ("[1]", "user", "[2]")
    assert swapped(asked.items, swaps_of(asked.chat.messages, asked.chat.messages), {}) == list(asked.items)


# --- anything -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from([
    "model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "type", "role", "content",
    "id", "call_id", "name", "arguments", "output", "format", "schema", "effort", "summary", "filters", "key", "value",
    "vector_store_ids", "file_data", "image_url", "encrypted_content", "metadata", "moe", "rag", "options", "stop",
    "mode",
])  # fmt: skip
WORDS = st.sampled_from([
    "auto", "user", "assistant", "message", "function", "function_call", "function_call_output", "custom", "reasoning",
    "custom_tool_call", "item_reference", "input_text", "input_image", "input_file", "file_search", "allowed_tools",
    "json_schema", "grammar", "lark", "eq", "and", "{}", "c1", "required", "data:image/png;base64,eA==",
])  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@given(st.dictionaries(NAMES, ANYTHING, max_size=8), st.sampled_from(["auto", None]))
def test_whatever_comes_is_read_or_refused_as_bad(data, model):
    data = {"input": "Hello", "model": model} | data
    try:
        asked = read_response(data, new_response_id())
    except BadRequest:
        return
    assert asked.chat.messages
    codec.dumps([asked.shown, list(asked.items)])


@given(st.lists(st.dictionaries(NAMES, ANYTHING, max_size=5) | st.sampled_from([USER, CALL, OUTPUT]), max_size=6))
def test_so_is_whatever_comes_as_items(items):
    try:
        asked = read(input=items)
    except BadRequest:
        return
    assert len(asked.items) == len(items)


@given(st.binary(max_size=40) | ANYTHING.map(codec.dumps))
def test_so_is_whatever_comes_as_a_body(body):
    try:
        read_response(json_object(body), RESPONSE)
    except BadRequest:
        return
