"""The events of an answer into those of a response, in the order OpenAI sends them. Pure."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from gateway.cited import Cited
from gateway.completions import Routed
from gateway.grounding import Grounded
from gateway.responses.citing import Files, annotations_of, queries_of, results_of
from gateway.responses.ids import output_id
from gateway.responses.output import (
    COMPLETED,
    IN_PROGRESS,
    INCOMPLETE,
    CallItem,
    CustomCallItem,
    Event,
    Item,
    MessageItem,
    ReasoningItem,
    SearchItem,
)
from gateway.responses.request import ENCRYPTED, RESULTS, ResponseRequest
from routing.backends.protocol import Delta, Finish, ToolCallDelta, Usage
from routing.exceptions import EndpointError, UpstreamFailed
from routing.mixture.parts import Parts, together

FAILED = "failed"
# Why a response ended before its end, by a chat's finish_reason.
INCOMPLETE_REASONS: Mapping[str, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}

Kind = TypeVar("Kind", bound=Item)


class ResponseWriter:
    """One response as it comes to be; ``keeps`` is whether it is, or is going to be, kept.

    Feed it with ``routed`` and ``write``, then ``end`` it or say that it ``failed``; each yields events.
    """

    def __init__(self, asked: ResponseRequest, *, keeps: bool) -> None:
        self.keeps = keeps
        self.finish: Finish | None = None
        self._asked = asked
        self._created = int(time.time())
        self._model = asked.chat.model
        self._routed: Routed | None = None
        self._files: Files = {}
        self._items: list[Item] = []
        self._open: Item | None = None
        self._call = -1  # the number of the call that is open
        self._held: list[Delta] = []
        self._cited: Cited | None = None
        self._parts: Parts | None = None
        self._error: EndpointError | None = None
        self._status = IN_PROGRESS
        self._sequence = 0
        self._begun = False

    # --- what came ---------------------------------------------------------------------------------------------

    def routed(self, event: Routed, files: Files) -> None:
        """Note who is asked now, and which files the documents are that were searched."""
        self._routed, self._model, self._files = event, event.head.model, files or self._files

    def write(self, event: Delta | Cited | Parts | Finish) -> Iterator[Event]:
        """Yield what ``event`` is for the client; all but the very last of it."""
        if isinstance(event, Parts):
            self._parts = event  # goes with the end
            return
        yield from self._numbered(self._begin())
        if isinstance(event, Delta):
            yield from self._numbered(self._delta(event))
        elif isinstance(event, Cited):
            self._cited = event
            yield from self._numbered(self._citations(event))
        else:
            yield from self._numbered(self._finish(event))

    def end(self) -> Iterator[Event]:
        """Yield the last event of an answer that has its Finish."""
        yield from self._numbered([{"type": f"response.{self._status}", "response": self.response()}])

    def failed(self, error: EndpointError) -> Iterator[Event]:
        """Yield the last events of an answer that came to nothing."""
        self._error, self._status, self.keeps = error, FAILED, False
        yield from self._numbered(self._begin(status=IN_PROGRESS))
        yield from self._numbered([{"type": "response.failed", "response": self.response()}])
        told = {"type": error.type, "code": error.code, "message": error.message, "param": error.param}
        # The SDKs raise what stands under "error"; that a response failed they only tell to those who look.
        yield from self._numbered([{**told, "type": "error", "error": told}])

    # --- what is told ------------------------------------------------------------------------------------------

    def response(self, status: str = "") -> dict[str, Any]:
        """Return the response as it stands."""
        status = status or self._status
        is_over = status != IN_PROGRESS
        reason = INCOMPLETE_REASONS.get(self.finish.reason) if self.finish else None
        whole = {
            "id": self._asked.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "completed_at": int(time.time()) if status == COMPLETED else None,
            "error": _told(self._error) if self._error and is_over else None,
            "incomplete_details": {"reason": reason} if status == INCOMPLETE else None,
            "model": self._model,
            "output": [item.shown() for item in self._items] if is_over else [],
            "usage": usage_object(self.finish.usage or Usage()) if self.finish and is_over else None,
            "store": self.keeps,
            **self._asked.shown,
        }
        if self._cited and is_over:
            whole |= dict(self._cited.extension or {})
        told = self._explained(is_over)
        return whole | {"moe": told} if told else whole

    @property
    def adjusted(self) -> tuple[str, ...]:
        """The parameters that were carried out otherwise than a client may expect."""
        return self.finish.adjusted if self.finish else ()

    @property
    def routed_to(self) -> Routed | None:
        """Who was asked, if anybody was yet."""
        return self._routed

    def _explained(self, is_over: bool) -> dict[str, Any]:
        told = dict(self._routed.explained()) if self._routed and self._asked.chat.explain else {}
        if is_over:
            told |= together([self._parts]) if self._parts else {}
            told |= {"adjusted": list(self.adjusted)} if self.adjusted else {}
        return told

    # --- steps -------------------------------------------------------------------------------------------------

    def _numbered(self, events: "Iterator[Event] | list[Event]") -> Iterator[Event]:
        for event in events:
            yield {**event, "sequence_number": self._sequence}
            self._sequence += 1

    def _begin(self, status: str = "") -> Iterator[Event]:
        if self._begun:
            return
        self._begun = True
        for name in ("created", "in_progress"):
            yield {"type": f"response.{name}", "response": self.response(status)}
        grounded = self._routed.grounded if self._routed else None
        if grounded and grounded.state == "grounded" and self._asked.tools.search:
            yield from self._searched(grounded)

    def _searched(self, grounded: Grounded) -> Iterator[Event]:
        results = results_of(grounded, self._files) if RESULTS in self._asked.includes else None
        yield from self._opened(
            SearchItem(*self._placed("file_search_call"), queries=queries_of(grounded), results=results)
        )
        yield from self._closed(COMPLETED)

    def _delta(self, delta: Delta) -> Iterator[Event]:
        if self._is_citing and isinstance(self._open, MessageItem) and (delta.tool_calls or delta.reasoning):
            # What the text cites is known at its end, and belongs to it.
            yield from self._said(delta)
            self._held.append(delta)
            return
        if delta.reasoning:
            yield from self._into(ReasoningItem, self._new_reasoning)
            assert isinstance(self._open, ReasoningItem)
            yield from self._open.add(delta.reasoning)
        yield from self._said(delta)
        for call in delta.tool_calls:
            yield from self._called(call)

    @property
    def _is_citing(self) -> bool:
        grounded = self._routed.grounded if self._routed else None
        return grounded is not None and grounded.cites and self._cited is None

    def _said(self, delta: Delta) -> Iterator[Event]:
        if delta.content or (delta.logprobs and not delta.reasoning):
            yield from self._into(MessageItem, lambda: MessageItem(*self._placed("message")))
            assert isinstance(self._open, MessageItem)
            yield from self._open.add(delta.content, delta.logprobs)

    def _called(self, call: ToolCallDelta) -> Iterator[Event]:
        if call.index != self._call:
            if call.name is None:
                raise UpstreamFailed("The model server mixed up the arguments of several calls.")
            yield from self._closed(COMPLETED)
            self._call = call.index
            yield from self._opened(self._new_call(call.id or "", call.name))
        assert isinstance(self._open, CallItem | CustomCallItem)
        if call.arguments:
            yield from self._open.add(call.arguments)

    def _citations(self, cited: Cited) -> Iterator[Event]:
        if isinstance(self._open, MessageItem):
            files = self._files if self._asked.tools.search else {}
            yield from self._open.cite(annotations_of(cited, files))

    def _finish(self, finish: Finish) -> Iterator[Event]:
        held, self._held = self._held, []
        for delta in held:
            yield from self._delta(Delta(reasoning=delta.reasoning, tool_calls=delta.tool_calls))
        self.finish = finish
        self._status = INCOMPLETE if finish.reason in INCOMPLETE_REASONS else COMPLETED
        said = any(isinstance(item, MessageItem | CallItem | CustomCallItem) for item in self._items)
        if not said and self._status == COMPLETED:
            yield from self._into(MessageItem, lambda: MessageItem(*self._placed("message")))  # it has nothing to say
        yield from self._closed(self._status)

    # --- items -------------------------------------------------------------------------------------------------

    def _into(self, kind: type[Kind], make: Callable[[], Kind]) -> Iterator[Event]:
        """Have an item of that kind open: the one that is, or a new one."""
        if not isinstance(self._open, kind):
            yield from self._closed(COMPLETED)
            yield from self._opened(make())

    def _opened(self, item: Item) -> Iterator[Event]:
        self._open = item
        self._items.append(item)
        yield from item.opened()

    def _closed(self, status: str) -> Iterator[Event]:
        item, self._open, self._call = self._open, None, -1
        if item is not None:
            yield from item.ended(status)

    def _placed(self, kind: str) -> tuple[str, int]:
        place = len(self._items)
        return output_id(kind, self._asked.id, place), place

    def _new_reasoning(self) -> ReasoningItem:
        seals = ENCRYPTED in self._asked.includes
        return ReasoningItem(*self._placed("reasoning"), summarises=self._asked.summarises, seals=seals)

    def _new_call(self, call_id: str, name: str) -> CallItem | CustomCallItem:
        tools = self._asked.tools
        space, inner = tools.spaced.get(name, ("", name))
        if name in tools.custom:
            return CustomCallItem(*self._placed("custom_tool_call"), call_id=call_id, name=inner, namespace=space)
        return CallItem(*self._placed("function_call"), call_id=call_id, name=inner, namespace=space)


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the counts under the names of a response; what a server does not tell apart is 0, as the SDKs need one."""
    prompt = usage.details.get("prompt_tokens_details") or {}
    completion = usage.details.get("completion_tokens_details") or {}
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": prompt.get("cached_tokens") or 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": completion.get("reasoning_tokens") or 0},
        "total_tokens": usage.total_tokens,
    }


def _told(error: EndpointError) -> dict[str, Any]:
    return {"code": error.code or error.type, "message": error.message, "param": error.param, "type": error.type}
