"""A request for a response, from its JSON. Pure.

What it has in common with a chat is read by gateway/chatrequest.py, so that both doors check alike.
Source: openai/openai-python, src/openai/types/responses/response_create_params.py. What becomes of each parameter is in
parameters.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.aliases import TOP_LEVEL_OPTIONS, settled
from gateway.chatrequest import read_chat
from gateway.fields import Fields, invalid
from gateway.responses import items as reading
from gateway.responses.items import Transcript
from gateway.responses.parameters import NO_EFFECT, REFUSED
from gateway.responses.parts import Attachments
from gateway.responses.tools import Tools, read_tools
from knowledge.exceptions import CollectionNotFound
from routing.backends.ollama import THINK_LEVELS
from routing.backends.protocol import ChatRequest, Json, Message, Text
from routing.exceptions import BadRequest, EndpointError

ENCRYPTED, LOGPROBS, RESULTS = "reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"
INCLUDABLE = (
    ENCRYPTED,
    LOGPROBS,
    RESULTS,
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "web_search_call.results",
    "web_search_call.action.sources",
)
SUMMARIES = ("auto", "concise", "detailed")
# What a chat has under the same name.
SHARED = (
    "model", "stream", "temperature", "top_p", "metadata", "parallel_tool_calls", "top_logprobs",
    "moe", "use_rag", "rag_collections", "rag", "num_ctx", "keep_alive", "think", "options",
    "seed", "stop", "presence_penalty", "frequency_penalty", *TOP_LEVEL_OPTIONS,
)  # fmt: skip
REFUSED_PARAMETERS = frozenset(name for name in REFUSED if "." not in name)
AS_IF_ABSENT = {"n": 1, "modalities": ["text"]}  # of what is refused, beside what is empty
# A chat's names in messages of errors, and what a client of this door calls the same.
NAMES = {
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "max_completion_tokens": "max_output_tokens",
}


class NotOfResponses(BadRequest):
    """A parameter has no place in a response; it is named as the client wrote it."""

    code = "unsupported_parameter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a request refers to and only the database has.

    ``items`` are those of the responses it continues, oldest first; ``stored`` are single items by their ids.
    """

    items: tuple[Json, ...] = ()
    stored: Mapping[str, Json] = field(default_factory=dict)
    attachments: Attachments = field(default_factory=dict)


NOTHING_BEFORE = Before()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRequest:
    """``chat`` is what is asked of a model; ``items`` are those that came with this request, as they are kept.

    ``stores`` is whether the client lets the response be kept. With ``summarises`` thinking is shown as a summary, and
    ``includes`` names what is wanted beside the usual. ``shown`` are the parameters that the response repeats.
    """

    id: str
    chat: ChatRequest
    tools: Tools
    items: tuple[Json, ...]
    previous: str = ""
    stores: bool = True
    summarises: bool = False
    includes: frozenset[str] = frozenset()
    shown: Json = field(default_factory=dict)


def read_response(data: Mapping[str, Any], response: str, before: Before = NOTHING_BEFORE) -> ResponseRequest:
    """Return the request ``data`` makes for the response of that id; raises BadRequest naming what is wrong."""
    try:
        return _read(Fields(data), response, before)
    except BadRequest as error:
        rename(error)
        raise


def rename(error: EndpointError) -> None:
    """Give the parameters in ``error`` the names that they have at this door."""
    if isinstance(error, NotOfResponses):
        return
    for name, ours in NAMES.items():
        error.message = error.message.replace(f"'{name}", f"'{ours}")
        if error.param:
            error.param = re.sub(rf"^{re.escape(name)}\b", ours, error.param)
    error.message = re.sub(r"'messages\[\d+\]\.content\[\d+\]", "'input", error.message)
    error.param = re.sub(r"^messages\b.*", "input", error.param) if error.param else error.param
    error.args = (error.message,)


def rename_store(error: CollectionNotFound) -> None:
    """Say of a collection that file_search was to search what it is called there."""
    error.param, error.code = "tools", "vector_store_not_found"
    error.message = error.message.replace("collection", "vector store", 1).replace("/rag/collections", "/vector_stores")
    error.args = (error.message,)


def _read(fields: Fields, response: str, before: Before) -> ResponseRequest:
    for name in fields.held(REFUSED_PARAMETERS):
        if (value := fields.raw(name)) and value != AS_IF_ABSENT.get(name):
            raise NotOfResponses(f"'{name}' is not supported: {REFUSED[name]}.", param=name)
    tools = read_tools(fields)
    includes = _includes(fields)
    reasoning = Fields(fields.object("reasoning") or {}, inside="reasoning")
    text = Fields(fields.object("text") or {}, inside="text")
    summary = _summary(reasoning)
    messages, given, ignored = _messages(fields, before)
    chat = _chat(fields, tools, reasoning, text, includes)
    shown = _shown(fields, chat, tools, reasoning, text, summary)
    stores, truncation = fields.flag("store") is not False, _truncation(fields)
    stream_options = Fields(fields.object("stream_options") or {}, inside="stream_options")
    nested = (("reasoning", reasoning), ("text", text), ("stream_options", stream_options))
    unread = [*fields.unseen(), *(f"{name}.{inner}" for name, one in nested for inner in one.unseen())]
    passed_over = (*unread, *truncation, *ignored, *tools.ignored, *chat.ignored)
    return ResponseRequest(
        id=response,
        chat=replace(
            chat,
            messages=messages,
            preface=1 if shown["instructions"] else 0,
            ignored=tuple(name for name in passed_over if name not in NO_EFFECT),
        ),
        tools=tools,
        items=tuple(reading.kept(given, response)),
        previous=str(shown["previous_response_id"] or ""),
        stores=stores,
        summarises=summary is not None,
        includes=includes,
        shown=shown,
    )


def _messages(fields: Fields, before: Before) -> tuple[tuple[Message, ...], list[Any], dict[str, None]]:
    """Return the messages of a chat, the items that came with the request, and what of them nobody reads."""
    given = reading.normalised(fields.raw("input"))
    if not given and not before.items:
        raise BadRequest(
            "'input' is missing or empty. Send a text, or a list of items such as "
            '{"role": "user", "content": "Hello"}.',
            param="input",
            code="missing_required_parameter" if fields.raw("input") is None else "invalid_value",
        )
    transcript = Transcript(before.attachments, before.stored)
    for item in before.items:
        transcript.add(item, "previous_response_id")
    transcript.ignored.clear()  # said when they came
    for number, item in enumerate(given):
        transcript.add(item, f"input[{number}]")
    messages = transcript.messages()
    if not messages:
        raise invalid("input", "'input' holds no message. Send at least one.")
    if instructions := fields.text("instructions"):
        messages = (Message(role="system", parts=(Text(text=instructions),)), *messages)
    return messages, given, transcript.ignored


def _chat(fields: Fields, tools: Tools, reasoning: Fields, text: Fields, includes: frozenset[str]) -> ChatRequest:
    """Return the chat that the request is, but for its messages."""
    chat = {name: value for name in SHARED if (value := fields.raw(name)) is not None}
    if tools.search and any(name in chat for name in ("use_rag", "rag_collections", "rag")):
        raise invalid("tools", "'tools' has file_search beside 'rag' or 'use_rag'. Leave one of them out.")
    chat["messages"] = [{"role": "user", "content": "-"}]
    chat["max_completion_tokens"] = fields.integer("max_output_tokens", 1, 2**31)
    chat["logprobs"] = True if LOGPROBS in includes or chat.get("top_logprobs") else None
    if not chat["logprobs"]:
        chat.pop("top_logprobs", None)
    effort = reasoning.raw("effort")
    if effort is not None and (not isinstance(effort, str) or effort not in THINK_LEVELS):
        raise invalid("reasoning.effort", f"'reasoning.effort' must be one of {', '.join(THINK_LEVELS)}.")
    chat["reasoning_effort"] = effort
    chat["response_format"] = _format(text.object("format"))
    chat["verbosity"] = text.raw("verbosity")
    chat["tools"], chat["tool_choice"] = list(tools.functions), tools.choice
    request = read_chat(Fields(settled({name: value for name, value in chat.items() if value is not None})))
    return replace(request, grounding=tools.search) if tools.search else request


def _format(given: dict[str, Any] | None) -> Json | None:
    """Return ``text.format`` as a chat's response_format; raises BadRequest."""
    if given is None or given.get("type") == "text":
        return None
    if given.get("type") != "json_schema":
        return given
    schema = {name: value for name, value in given.items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _includes(fields: Fields) -> frozenset[str]:
    given = fields.array("include") or []
    for one in given:
        if one not in INCLUDABLE:
            raise invalid("include", f"'include' may hold {', '.join(INCLUDABLE)}.")
    return frozenset(given)


def _summary(reasoning: Fields) -> str | None:
    older = reasoning.raw("generate_summary")
    summary: str | None = older if (found := reasoning.raw("summary")) is None else found
    if summary is not None and summary not in SUMMARIES:
        raise invalid("reasoning.summary", f"'reasoning.summary' must be one of {', '.join(SUMMARIES)}.")
    return summary


def _truncation(fields: Fields) -> tuple[str, ...]:
    """Return the parameter's name where it asks for what is not done: what does not fit is an error here."""
    wanted = fields.raw("truncation")
    if wanted not in (None, "auto", "disabled"):
        raise invalid("truncation", "'truncation' must be auto or disabled.")
    return ("truncation",) if wanted == "auto" else ()


def _shown(
    fields: Fields, chat: ChatRequest, tools: Tools, reasoning: Fields, text: Fields, summary: str | None
) -> dict[str, Any]:
    """Return the parameters as the response repeats them."""
    tier = fields.text("service_tier")
    return {
        "background": False,
        "instructions": fields.text("instructions"),
        "max_output_tokens": chat.sampling.max_tokens,
        "max_tool_calls": fields.integer("max_tool_calls", 1, 2**31),
        "metadata": dict(chat.metadata),
        "parallel_tool_calls": chat.parallel_tool_calls is not False,
        "previous_response_id": fields.text("previous_response_id"),
        "prompt_cache_key": fields.text("prompt_cache_key"),
        "reasoning": {"effort": chat.reasoning_effort, "summary": summary},
        "safety_identifier": fields.text("safety_identifier"),
        "service_tier": "default" if tier else None,
        "temperature": chat.sampling.temperature,
        "text": {"format": text.object("format") or {"type": "text"}, "verbosity": chat.verbosity or "medium"},
        "tool_choice": tools.shown_choice,
        "tools": list(tools.shown),
        "top_logprobs": chat.top_logprobs or 0,
        "top_p": chat.sampling.top_p,
        "truncation": "disabled",
        "user": fields.text("user"),
    }
