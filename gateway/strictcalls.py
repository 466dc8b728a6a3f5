"""Calls of functions that a client declared ``strict``: whether their arguments are what ``parameters`` says. Pure.

No model server here holds a model to it, and a small one may well leave out an argument.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import schemas
from routing.backends.protocol import Json, ToolCallDelta


@dataclass(slots=True)
class _Call:
    name: str = ""
    arguments: str = ""


class StrictCalls:
    """The calls of one answer as they come, whole or in fragments; ``tools`` are all that the model may call."""

    def __init__(self, tools: Iterable[Json]) -> None:
        self._schemas = parameters_of(tools)
        self._calls: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        """Tell whether there is any function whose calls are looked at."""
        return bool(self._schemas)

    def note(self, fragments: Iterable[ToolCallDelta]) -> None:
        for fragment in fragments if self._schemas else ():
            call = self._calls.setdefault(fragment.index, _Call())
            call.name = call.name or fragment.name or ""
            call.arguments += fragment.arguments

    def problem(self) -> str | None:
        """Return what is wrong with the first call that does not fit, in words for the model; None if all fit."""
        for call in self._calls.values():
            if call.name in self._schemas and (wrong := _wrong(call, self._schemas[call.name])):
                return f"the arguments of your call of {call.name} do not fit: {wrong}"
        return None


def parameters_of(tools: Iterable[Json]) -> Mapping[str, Json]:
    """Return the schemas of strict functions by their names; those without one take anything."""
    functions = [tool["function"] for tool in tools if tool["function"].get("strict") is True]
    return {one["name"]: one["parameters"] for one in functions if isinstance(one.get("parameters"), dict)}


def _wrong(call: _Call, schema: Mapping[str, Any]) -> str | None:
    try:
        return schemas.fault(call.arguments or "{}", schema)
    except schemas.BadSchema as error:
        return f"'parameters' is no JSON Schema that they could be held to: {error}"
