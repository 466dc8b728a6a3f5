"""The texts of messages and of JSON, each given to a function that may write it anew. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from routing.backends.protocol import Message, Text, ToolCall

Rewrite = Callable[[str], str]
TOOL = "tool"
"""The role whose messages are named after the function that was called: such a name is no text."""


def texts_of(messages: Iterable[Message]) -> Iterator[str]:
    """Yield every text a model would be shown of ``messages``."""
    for message in messages:
        yield from (part.text for part in message.parts if isinstance(part, Text))
        if message.reasoning:
            yield message.reasoning
        yield from (call.arguments for call in message.tool_calls)
        if message.name and message.role != TOOL:
            yield message.name
        yield from _strings(message.extra)


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts of JSON, those of its names too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield name
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def rewritten(messages: tuple[Message, ...], rewrite: Rewrite) -> tuple[Message, ...]:
    """Return ``messages`` with every text as ``rewrite`` makes it; one it leaves as it is stays the same object."""
    return tuple(_message(message, rewrite) for message in messages)


def _message(message: Message, rewrite: Rewrite) -> Message:
    changed = replace(
        message,
        parts=tuple(Text(text=rewrite(part.text)) if isinstance(part, Text) else part for part in message.parts),
        reasoning=rewrite(message.reasoning) if message.reasoning else "",
        tool_calls=tuple(_call(call, rewrite) for call in message.tool_calls),
        name=rewrite(message.name) if message.name and message.role != TOOL else message.name,
        extra=_value(message.extra, rewrite) if message.extra else message.extra,
    )
    return message if changed == message else changed


def _call(call: ToolCall, rewrite: Rewrite) -> ToolCall:
    return replace(call, arguments=json_rewritten(call.arguments, rewrite))


def json_rewritten(text: str, rewrite: Rewrite) -> str:
    """Return JSON with its texts and numbers as ``rewrite`` makes them, as it stands where none is changed.

    So a mask never breaks it, and what is written with escapes is found. What is no JSON is rewritten as a text.
    """
    try:
        value = json.loads(text)
        changed = _value(value, rewrite)
    except (ValueError, RecursionError):
        return rewrite(text)
    return text if changed == value else json.dumps(changed, ensure_ascii=False)


def hidden(value: Any, restored: Mapping[str, str]) -> Any:
    """Return an answer, as JSON, with masks again in the place of what was ``restored`` in it."""
    if not restored:
        return value
    # Answers in JSON and arguments of calls are texts that have quotes, backslashes and the like as escapes.
    spelt = {json.dumps(original, ensure_ascii=False)[1:-1]: mask for original, mask in restored.items()}
    longest_first = sorted((spelt | dict(restored)).items(), key=lambda pair: -len(pair[0]))

    def hide(text: str) -> str:
        for original, mask in longest_first:
            text = text.replace(original, mask)
        return text

    return _value(value, hide)


def _value(value: Any, rewrite: Rewrite) -> Any:
    if isinstance(value, dict):
        return {rewrite(name): _value(one, rewrite) for name, one in value.items()}
    if isinstance(value, list):
        return [_value(one, rewrite) for one in value]
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, bool) or value is None:
        return value
    shown = str(value)
    changed = rewrite(shown)
    return value if changed == shown else changed
