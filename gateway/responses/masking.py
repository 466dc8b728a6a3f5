"""What guards masked in a conversation, masked in the items that are kept of it too. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.guards.texts import hidden
from gateway.responses.items import INPUT
from gateway.responses.parts import read_parts
from routing.backends import codec
from routing.backends.protocol import Message, Text, ToolCall

Swaps = Mapping[str, str]
"""Texts as the client sent them, and as they may be shown, which may be the same."""
TEXTS = ("text", "refusal", "content", "output", "arguments", "input", "instructions")
# What items are told apart and read by, and what is no text that people could read.
FIXED = frozenset({
    "type", "role", "id", "call_id", "name", "namespace", "status", "phase", "file_id", "filename", "detail",
    "encrypted_content", "file_data", "file_url", "image_url",
})  # fmt: skip


def swaps_of(asked: Sequence[Message], shown: Sequence[Message]) -> Swaps:
    """Return how ``shown`` has the texts of ``asked``, message by message; nothing where the two are the same."""
    together = list(zip(asked, shown, strict=False))
    if all(one is other for one, other in together):
        return {}
    return {before: after for one, other in together for before, after in _pairs(one, other)}


def _pairs(one: Message, other: Message) -> Iterator[tuple[str, str]]:
    for part, changed in zip(one.parts, other.parts, strict=True):
        if isinstance(part, Text) and isinstance(changed, Text):
            yield part.text, changed.text
    yield one.reasoning, other.reasoning
    for call, rewritten in zip(one.tool_calls, other.tool_calls, strict=True):
        yield call.arguments, rewritten.arguments
        yield _custom(call), _custom(rewritten)


def _custom(call: ToolCall) -> str:
    """Return what a custom tool is given, "" for a call of a function."""
    try:
        given = codec.loads(call.arguments)
    except ValueError:
        return ""
    text = given.get(INPUT) if isinstance(given, dict) and len(given) == 1 else None
    return text if isinstance(text, str) else ""


def swapped(value: Any, swaps: Swaps, masked: Mapping[str, str]) -> Any:
    """Return items, or a part of them, as they may be shown. A file that is changed becomes its text.

    What no model is shown as it stands, such as a thought in several parts or a field that nobody reads, has the masks
    of ``masked``.
    """
    if not swaps:
        return list(value) if isinstance(value, tuple) else value
    if isinstance(value, str):
        return hidden(value, masked)
    if isinstance(value, list | tuple):
        return [swapped(one, swaps, masked) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "input_file" and value.get("file_data"):
        [read] = read_parts([value], "input", {})
        if isinstance(read, Text) and swaps.get(read.text, read.text) != read.text:
            return {"type": "input_text", "text": swaps[read.text]}
    return {name: _swapped(name, one, swaps, masked) for name, one in value.items()}


def _swapped(name: str, value: Any, swaps: Swaps, masked: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        if name in FIXED:
            return value
        if name in TEXTS and value in swaps:
            return swaps[value]
    return swapped(value, swaps, masked)
