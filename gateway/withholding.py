"""Tools withheld: a model that reads what somebody may have written to mislead it is given nothing to act with.

An order in a passage is harmless while all that can come of it is a wrong sentence; with tools it could send mail or
delete files. So the tools of a request go as soon as a doubtful passage is in its prompt, unless the administrator said
of the passage's collection that they may stay. Whose request it is does not count: it is not the client who knows what
is in the collections.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from knowledge.packing import Packed
from knowledge.passages import Passage
from routing.backends.protocol import ChatRequest
from routing.exceptions import BadRequest


class ToolsWithheld(BadRequest):
    """A tool must be called, and none may."""

    code = "tools_withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """The names of the tools that a model was not given, and why: collections, and the signals of their passages."""

    tools: tuple[str, ...]
    untrusted: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    signals: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        return " and ".join(self._reasons())

    @property
    def note(self) -> str:
        return f"The tools of the request were withheld ({', '.join(self.tools)}): its prompt holds {self.reason}."

    def body(self) -> dict[str, Any]:
        """Return what the client is told, and what is kept of it."""
        return {
            "withheld": list(self.tools),
            "untrusted": list(self.untrusted),
            "flagged": list(self.flagged),
            "signals": list(self.signals),
        }

    def _reasons(self) -> Iterable[str]:
        if self.untrusted:
            yield f"passages of what is not trusted ({', '.join(self.untrusted)})"
        if self.flagged:
            yield f"passages that look like orders to a model ({', '.join(self.flagged)}: {', '.join(self.signals)})"


def withheld_from(request: ChatRequest, packed: Packed) -> Withheld | None:
    """Return which tools of ``request`` must not be offered beside what is packed; None: all may be."""
    doubtful = [one.passage for one in packed.sources if one.passage.is_doubtful and not one.passage.keeps_tools]
    if not doubtful or not request.offered_tools:
        return None
    return Withheld(
        tools=tuple(tool["function"]["name"] for tool in request.offered_tools),
        untrusted=_collections(passage for passage in doubtful if not passage.trusted),
        flagged=_collections(passage for passage in doubtful if passage.signals),
        signals=tuple(sorted({name for passage in doubtful for name in passage.signals})),
    )


def without_tools(request: ChatRequest, withheld: Withheld) -> ChatRequest:
    """Return ``request`` without its tools. Raises ToolsWithheld if one of them must be called."""
    if request.must_call:
        raise ToolsWithheld(
            f"'tool_choice' asks for a tool, and none may be called: the prompt holds {withheld.reason}. Send "
            "tool_choice 'auto' to be answered without tools, or 'rag': false to be answered without passages. An "
            "administrator can allow both together on the collection's page in admin.",
            param="tool_choice",
        )
    return replace(request, tools=(), tool_choice=None, parallel_tool_calls=None)


def _collections(passages: Iterable[Passage]) -> tuple[str, ...]:
    return tuple(sorted({passage.collection for passage in passages}))
