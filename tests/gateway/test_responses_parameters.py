"""The table of parameters of responses is what the code does."""

from typing import Any, get_type_hints

import pytest
from openai.types.responses import response_create_params as openai_types

from gateway import parameters as chats
from gateway.fields import Fields
from gateway.parameters import Verdict
from gateway.responses.parameters import EXTENSIONS, NAMES_OF_CHATS, NO_EFFECT, OF_A_CHAT, OPENAI_PARAMETERS, REFUSED
from gateway.responses.request import NOTHING_BEFORE, _read, read_response
from routing.exceptions import BadRequest

RESPONSE = "resp_" + "0" * 32
ROWS = [*OPENAI_PARAMETERS, *NAMES_OF_CHATS, *EXTENSIONS]
# A value of each that is fine, where `1` is not.
SAMPLES: dict[str, Any] = {
    "model": "code",
    "input": "And?",
    "include": ["reasoning.encrypted_content"],
    "instructions": "Be brief.",
    "metadata": {"team": "sales"},
    "parallel_tool_calls": False,
    "previous_response_id": RESPONSE,
    "reasoning.effort": "low",
    "reasoning.summary": "auto",
    "reasoning.generate_summary": "auto",
    "store": False,
    "stream": True,
    "text.format": {"type": "json_object"},
    "text.verbosity": "low",
    "tool_choice": "none",
    "tools": [{"type": "function", "name": "f"}],
    "truncation": "disabled",
    "moe": {"explain": True},
    "use_rag": True,
    "rag_collections": ["handbook"],
    "rag": {"top_k": 3},
    "num_ctx": 4096,
    "think": True,
    "stop": "x",
    "n": 2,
    "options": {"top_k": 2},
    **{name: {} for name in ("reasoning", "text", "stream_options")},
    **dict.fromkeys(("user", "safety_identifier", "prompt_cache_key", "service_tier"), "auto"),
}
SAID_ALREADY = {"truncation", "stream_options", "tool_choice", "reasoning", "text"}


def asked(name: str) -> dict[str, Any]:
    outer, _, inner = name.partition(".")
    value = SAMPLES.get(name, 1)
    return {"model": "auto", "input": "Hello"} | ({outer: {inner: value}} if inner else {outer: value})


def test_openais_parameters_are_all_there_and_only_they():
    theirs = get_type_hints(openai_types.ResponseCreateParamsStreaming)
    assert {row.name for row in OPENAI_PARAMETERS if "." not in row.name} == set(theirs)


def test_extensions_are_a_chats():
    assert {row.name for row in EXTENSIONS} == set(OF_A_CHAT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_becomes_of_each_is_what_its_row_says(row):
    plain = read_response({"model": "auto", "input": "Hello"}, RESPONSE)
    if row.verdict is Verdict.REFUSED:
        with pytest.raises(BadRequest) as caught:
            read_response(asked(row.name), RESPONSE)
        assert (caught.value.param, caught.value.code) == (row.name, "unsupported_parameter")
        assert row.note in caught.value.message
        return
    found = read_response(asked(row.name), RESPONSE)
    assert found.chat.ignored == ()
    if row.verdict is Verdict.NO_EFFECT:
        assert found.chat == plain.chat
    elif row.name not in SAID_ALREADY:
        assert found != plain


def test_what_is_read_is_what_the_table_has():
    fields = Fields({"model": "auto", "input": "Hello"})
    _read(fields, RESPONSE, NOTHING_BEFORE)
    known = {row.name for row in ROWS if "." not in row.name}
    assert fields.seen | NO_EFFECT | {"stream_options"} == known | NO_EFFECT


@pytest.mark.parametrize("value", [None, {}, [], False, ""])
@pytest.mark.parametrize("name", list(REFUSED))
def test_nothing_is_refused_for_saying_no(name, value):
    data = {"model": "auto", "input": "Hello", name: value}
    assert read_response(data, RESPONSE) == read_response({"model": "auto", "input": "Hello"}, RESPONSE)


def test_one_answer_of_text_is_what_a_response_is():
    asked = {"model": "auto", "input": "Hello", "n": 1, "modalities": ["text"]}
    assert read_response(asked, RESPONSE).chat.ignored == ()


def test_what_belongs_to_chats_alone_is_not_passed_over():
    """The parameters of a chat that change an answer are read here, refused, or called otherwise."""
    here = {row.name for row in ROWS}
    harmless = {row.name for row in chats.OPENAI_PARAMETERS if row.verdict is Verdict.NO_EFFECT}
    theirs = {row.name for row in chats.OPENAI_PARAMETERS if "." not in row.name}
    assert theirs - here - harmless == set()
