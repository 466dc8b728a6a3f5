"""What guards masked in a conversation, masked in the items that are kept of it too. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.responses.items import INPUT
from gateway.responses.parts import read_parts
from routing.backends import codec
from routing.backends.protocol import Message, Text, ToolCall

Swaps = Mapping[str, str]
"""Texts as the client sent them, and as they may be shown; those that are the same are left out."""
TEXTS = ("text", "refusal", "content", "output", "arguments", "input", "instructions")


def swaps_of(asked: Sequence[Message], shown: Sequence[Message]) -> Swaps:
    """Return where ``shown`` differs from ``asked``, message by message; without ``shown`` nothing does."""
    changed = ((one, other) for one, other in zip(asked, shown, strict=False) if one is not other)
    pairs = (pair for one, other in changed for pair in _pairs(one, other))
    return {before: after for before, after in pairs if before != after}


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


def swapped(value: Any, swaps: Swaps) -> Any:
    """Return items, or a part of them, as they may be shown. A file that is changed becomes its text."""
    if not swaps:
        return list(value) if isinstance(value, tuple) else value
    if isinstance(value, list | tuple):
        return [swapped(one, swaps) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "input_file" and value.get("file_data"):
        [read] = read_parts([value], "input", {})
        if isinstance(read, Text) and read.text in swaps:
            return {"type": "input_text", "text": swaps[read.text]}
    return {
        name: swaps.get(one, one) if isinstance(one, str) and name in TEXTS else swapped(one, swaps)
        for name, one in value.items()
    }
