"""What a request looks like to the router. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from routing.backends.protocol import ChatRequest, Message
from routing.classifier.reading import Reading, read
from routing.language import language_of
from routing.tokens import estimate

# What is looked at of a conversation's text: more than anybody reads of one would cost time and tell no more.
LONGEST_CONVERSATION = 20_000

# Jobs that chat clients do in the background, by how their prompts begin. Sources: open-webui/open-webui,
# backend/open_webui/config.py (DEFAULT_*_PROMPT_TEMPLATE); danny-avila/LibreChat, agents' title prompts;
# continuedev/continue, core/util/chatDescriber.ts.
TASKS: Mapping[str, re.Pattern[str]] = {
    "title": re.compile(
        r"(?:### Task:\s+)?(?:Generate a concise, 3-5 word title|Create a concise, 3-5 word|"
        r"Provide a concise, 5-word-or-less title|Given the following\b.{0,80}please reply with a title for the chat)|"
        r"Write a concise title for this conversation",
        re.IGNORECASE | re.DOTALL,
    ),
    "tags": re.compile(r"### Task:\s+Generate 1-3 broad tags"),
    "follow_ups": re.compile(r"### Task:\s+Suggest 3-5 relevant follow-up"),
    "queries": re.compile(r"### Task:\s+Analyze the chat history to determine the necessity of generating search"),
    "autocomplete": re.compile(r"### Task:\s+You are an autocompletion system"),
    "emoji": re.compile(r"Your task is to reflect the speaker's likely facial expression through a fitting emoji"),
    "image_prompt": re.compile(r"### Task:\s+Generate a detailed prompt for an? image generation task"),
    "tools": re.compile(
        r"Available Tools: .{0,20000}?Return an empty string if no tools match|"
        r"Your task is to choose and return the correct tool",
        re.DOTALL,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and how: ``key`` and ``group`` are names of an API key, and ``tenant`` tells keys apart.

    Names of headers are lower-case. ``evidence`` is how strong the knowledge base's evidence for the question is, 0 to
    1, by collection; it lacks those that nobody looked at.
    """

    key: str = ""
    group: str = ""
    tenant: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)


_NOTHING = Reading(head="", tail="", body="", fenced=False, quoted=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What a request looks like; ``needs`` are the capabilities without which a model cannot answer.

    ``text`` is the last user turn, ``reading`` what of it is instruction and what is material, ``conversation`` every
    turn's text. ``language`` is an ISO 639-1 code or "", ``tokens`` an estimate for the whole request, ``task`` the
    background job of a chat client ("title", "tags", …) or "". ``earlier`` are the user turns before the last one.
    """

    text: str = ""
    instruction: str = ""
    reading: Reading = _NOTHING
    conversation: str = ""
    earlier: tuple[str, ...] = ()
    language: str = ""
    tokens: int = 0
    turns: int = 1
    has_images: bool = False
    has_tools: bool = False
    wants_json: bool = False
    in_tool_loop: bool = False
    task: str = ""
    needs: frozenset[str] = frozenset()


def extract(request: ChatRequest) -> Features:
    """Return what ``request`` looks like. Takes about 0.2 ms for a prompt of 4,000 characters."""
    asked = [message.text for message in request.messages if message.role == "user"]
    text = asked[-1] if asked else ""
    reading = read(text)
    needs = needs_of(request)
    return Features(
        text=text,
        instruction=reading.instruction,
        reading=reading,
        conversation=_conversation(request.messages),
        earlier=tuple(asked[:-1]),
        language=language_of(reading.instruction),
        tokens=int(estimate(request.messages, request.tools)),
        turns=len(asked),
        has_images=request.has_images,
        has_tools="tools" in needs,
        wants_json=request.response_format is not None and request.response_format.kind != "text",
        in_tool_loop=bool(request.messages) and request.messages[-1].role == "tool",
        task=_task(text, request),
        needs=needs,
    )


def needs_of(request: ChatRequest) -> frozenset[str]:
    """Return the capabilities without which a model cannot answer ``request``."""
    tools = bool(request.tools) and request.tool_choice != "none"
    return frozenset(name for name, needed in (("vision", request.has_images), ("tools", tools)) if needed)


def _conversation(messages: tuple[Message, ...]) -> str:
    if len(messages) == 1:
        return messages[0].text[:LONGEST_CONVERSATION]
    return "\n".join(message.text for message in messages)[-LONGEST_CONVERSATION:]


def _task(text: str, request: ChatRequest) -> str:
    start = text[:400] if "Available Tools" not in text[:400] else text
    for name, pattern in TASKS.items():
        if pattern.match(start):
            return name
    first = request.messages[0].text if request.messages and request.messages[0].role == "system" else ""
    return next((name for name, pattern in TASKS.items() if first and pattern.match(first[:25_000])), "")
