"""What the rules demand, carried out on a request. Pure."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from routing.backends.protocol import ChatRequest, Message, Sampling, Text
from routing.judging import Outcome

_SAMPLING = frozenset(parameter.name for parameter in fields(Sampling))
_SYSTEM_ROLES = ("system", "developer")


def apply_to(request: ChatRequest, outcome: Outcome, *, system_prompt: str = "") -> ChatRequest:
    """Return ``request`` with the sampling and system text that ``outcome`` demands, whatever the client said.

    ``system_prompt`` is what the expert or profile would say where the client sends no system message: a text to
    append is put after it, not in its place.
    """
    overrides = {name: _whole(value) for name, value in outcome.overrides.items() if name in _SAMPLING}
    if overrides:
        request = replace(request, sampling=replace(request.sampling, **overrides))
    if outcome.system:
        request = replace(request, messages=_with_system(request.messages, outcome.system, system_prompt))
    return request


def _whole(value: Any) -> Any:
    # JSON has one kind of number: 100.0 tokens are 100, and a temperature of 1 is the same as 1.0.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_system(
    messages: tuple[Message, ...], changes: Iterable[tuple[str, str]], system_prompt: str
) -> tuple[Message, ...]:
    """Replace or insert (the first rule that wants to does), then append all there is to append."""
    by_mode: dict[str, list[str]] = {"replace": [], "insert": [], "append": []}
    for mode, text in changes:
        by_mode.setdefault(mode, []).append(text)
    if by_mode["replace"]:
        messages = tuple(message for message in messages if message.role not in _SYSTEM_ROLES)
        messages = (_system_message(by_mode["replace"][0]), *messages)
    elif by_mode["insert"] and not any(message.role in _SYSTEM_ROLES for message in messages):
        messages = (_system_message(by_mode["insert"][0]), *messages)
    for text in by_mode["append"]:
        messages = _appended(messages, text, system_prompt)
    return messages


def _appended(messages: tuple[Message, ...], text: str, system_prompt: str) -> tuple[Message, ...]:
    for position, message in enumerate(messages):
        if message.role in _SYSTEM_ROLES:
            parts = (*message.parts, Text(text=f"\n\n{text}")) if message.text else (Text(text=text),)
            return (
                *messages[:position],
                replace(message, parts=parts, content_is_null=False),
                *messages[position + 1 :],
            )
    return (_system_message(f"{system_prompt}\n\n{text}" if system_prompt else text), *messages)


def _system_message(text: str) -> Message:
    return Message(role="system", parts=(Text(text=text),))
