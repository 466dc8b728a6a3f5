"""The table of parameters is what the code does, and what the documentation says."""

from typing import Any, get_type_hints

import pytest
from django.core.management import CommandError, call_command
from openai.types.chat import completion_create_params as openai_types

from gateway.aliases import ALIASES, settled
from gateway.chatrequest import read_chat
from gateway.completions import listed
from gateway.fields import Fields
from gateway.parameters import EXTENSIONS, NO_EFFECT, OPENAI_PARAMETERS, REFUSED, Verdict, parameters
from routing.backends.protocol import ChatRequest
from routing.exceptions import BadRequest
from tests.requests import HELLO, chat_request, tool

TOP = [row for row in parameters() if "." not in row.name]
NESTED = [row for row in parameters() if "." in row.name]
# A value of each that is fine, where `1` is not.
SAMPLES: dict[str, Any] = {
    "model": "code",
    "messages": [HELLO],
    "modalities": ["text"],
    "response_format": {"type": "json_object"},
    "tools": [tool()],
    "tool_choice": "none",
    "stop": "x",
    "stop_sequences": ["x"],
    "reasoning_effort": "low",
    "reasoning.effort": "low",
    "verbosity": "low",
    "format": "json",
    "num_ctx": 4096,
    "thinking": {"type": "enabled"},
    "metadata": {"team": "sales"},
    "moe": {"explain": True},
    **{name: {} for name in ("stream_options", "options", "reasoning", "chat_template_kwargs")},
    **dict.fromkeys(("logprobs", "parallel_tool_calls", "stream", "think", "enable_thinking"), True),
    "reasoning.enabled": True,
    "moe.explain": True,
    "stream_options.include_usage": True,
    "chat_template_kwargs.enable_thinking": True,
    "chat_template_kwargs.thinking": True,
    "options.stop": ["x"],
    "options.num_ctx": 4096,
    "use_rag": True,
    "rag_collections": ["handbook"],
    "rag": {"top_k": 3},
    "rag.collections": ["handbook"],
    "rag.filters": {"type": "eq", "key": "team", "value": "sales"},
    "rag.mode": "text",
    "rag.condense": False,
}


def asked(name: str) -> dict[str, Any]:
    """Return the fields of a request that has the parameter ``name``."""
    value = SAMPLES.get(name, 1)
    outer, _, inner = name.partition(".")
    also = {"logprobs": True} if name == "top_logprobs" else {}
    return ({outer: {inner: value}} if inner else {outer: value}) | also


def test_no_parameter_has_two_rows():
    names = [row.name for row in parameters()]
    assert len(names) == len(set(names))


def test_openais_parameters_are_all_there_and_only_they():
    theirs = get_type_hints(openai_types.CompletionCreateParamsStreaming)
    assert {row.name for row in OPENAI_PARAMETERS if "." not in row.name} == set(theirs)


@pytest.mark.parametrize("row", [*TOP, *NESTED], ids=lambda row: row.name)
def test_what_becomes_of_each_is_what_its_row_says(row):
    if row.verdict is Verdict.REFUSED:
        with pytest.raises(BadRequest) as caught:
            chat_request(**asked(row.name))
        assert (caught.value.param, caught.value.code) == (row.name, "unsupported_parameter")
        assert row.note in caught.value.message
        return
    request = chat_request(**asked(row.name))
    assert request.ignored == ()
    if row.verdict is Verdict.NO_EFFECT:
        assert request == chat_request()


@pytest.mark.parametrize(
    "row",
    [row for row in parameters() if row.verdict not in (Verdict.REFUSED, Verdict.NO_EFFECT)],
    ids=lambda row: row.name,
)
def test_what_is_carried_out_reaches_the_request(row):
    without_effect_here = {"modalities", "stream_options", "options", "reasoning", "chat_template_kwargs", "n"}
    if row.name not in without_effect_here | {"messages"}:
        assert chat_request(**asked(row.name)) != chat_request()


def test_what_is_read_is_what_the_table_has():
    fields = Fields(settled({"model": "auto", "messages": [HELLO]}))
    read_chat(fields)
    aliases = set(ALIASES) | {"format"}
    assert fields.seen | aliases | NO_EFFECT == {row.name for row in TOP} | NO_EFFECT
    assert not fields.seen & (aliases | NO_EFFECT)


def test_every_option_of_ollama_has_a_row():
    from tests.scripted import gojson

    of_ollama = gojson._INT_OPTIONS | gojson._FLOAT_OPTIONS | {"stop", "use_mmap"}
    assert {row.name.removeprefix("options.") for row in NESTED if row.name.startswith("options.")} == of_ollama
    assert {row.name for row in EXTENSIONS} >= {"num_ctx", "keep_alive", "think", "options", "top_k"}


@pytest.mark.parametrize("value", [None, {}, [], False, ""])
@pytest.mark.parametrize("name", [name for name in REFUSED if "." not in name])
def test_nothing_is_refused_for_saying_no(name, value):
    assert chat_request(**{name: value}) == chat_request()


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"frobnicate": 1, "top_a": 0.5}, ("frobnicate", "top_a")),
        ({"frobnicate": None}, ()),
        ({"options": {"mirostat": 2, "top_k": 1}}, ("options.mirostat",)),
        ({"stream_options": {"include_usage": True, "x": 1}}, ("stream_options.x",)),
        ({"reasoning": {"effort": "low", "exclude": True}}, ("reasoning.exclude",)),
        ({"chat_template_kwargs": {"custom": 1}}, ("chat_template_kwargs.custom",)),
        ({"moe": {"explain": True, "colour": "red"}}, ("moe.colour",)),
        ({"user": "me", "metadata": {}, "stream_options": {"include_obfuscation": True}}, ()),
    ],
    ids=str,
)
def test_what_nobody_reads_is_named(fields, ignored):
    request = chat_request(**fields)
    assert isinstance(request, ChatRequest)
    assert request.ignored == ignored


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("a", "b.c"), "a,b.c"),
        (("a,b", "c\r\nX-Evil: 1", "d\u2028", "ü"), "a?b,c??X-Evil??1,d?,ü"),
        (("x" * 100,), "x" * 60),
        (tuple("abcdefghijklmnopqrstuvwxyz"), ",".join("abcdefghijklmnopqrst")),
    ],
)
def test_a_clients_names_do_no_harm_in_a_header_or_in_the_log(names, text):
    assert listed(names) == text


def test_the_documentation_is_current():
    call_command("conformance", "--check")


def test_the_documentation_is_written_where_it_is_not(settings, tmp_path, capsys):
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match=r"manage\.py conformance"):
        call_command("conformance", "--check")
    call_command("conformance")
    assert "Wrote" in capsys.readouterr().out
    call_command("conformance", "--check")
    rows = (tmp_path / "docs/conformance.md").read_text()
    assert all(f"| `{row.name}` | {row.verdict} |" in rows for row in parameters())
