"""The items of a response as they come to be, each with the events that tell of it. Pure.

Source: openai/openai-python, src/openai/types/responses/response_*_event.py. An event has no sequence_number yet.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from gateway.responses import sealing
from gateway.responses.items import INPUT
from routing.backends import codec
from routing.backends.protocol import Json

Event = dict[str, Any]
IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class Item(Protocol):
    """One item: ``opened`` and ``ended`` are called once, ``shown`` at any time."""

    status: str

    def opened(self) -> Iterator[Event]: ...
    def ended(self, status: str) -> Iterator[Event]: ...
    def shown(self) -> dict[str, Any]: ...


class _Placed:
    """An item with an id and a place in the output."""

    def __init__(self, item_id: str, place: int) -> None:
        self.id = item_id
        self._place = place
        self.status = IN_PROGRESS

    def shown(self) -> dict[str, Any]:
        raise NotImplementedError

    def opened(self) -> Iterator[Event]:
        yield self._about("added")

    def ended(self, status: str) -> Iterator[Event]:
        self.status = status
        yield self._about("done")

    def _about(self, what: str) -> Event:
        return {"type": f"response.output_item.{what}", "output_index": self._place, "item": self.shown()}

    def _event(self, event: str, **fields: Any) -> Event:
        return {"type": f"response.{event}", "item_id": self.id, "output_index": self._place, **fields}


class MessageItem(_Placed):
    """What a model says."""

    def __init__(self, item_id: str, place: int) -> None:
        super().__init__(item_id, place)
        self._texts: list[str] = []
        self._logprobs: list[Json] = []
        self._annotations: list[Json] = []
        self._begun = False

    def opened(self) -> Iterator[Event]:
        yield from super().opened()
        self._begun = True
        yield self._event("content_part.added", content_index=0, part=self._part())

    def add(self, text: str, logprobs: Sequence[Json]) -> Iterator[Event]:
        self._texts.append(text)
        self._logprobs.extend(logprobs)
        yield self._event("output_text.delta", content_index=0, delta=text, logprobs=list(logprobs))

    def cite(self, annotations: Sequence[Json]) -> Iterator[Event]:
        for annotation in annotations:
            place = len(self._annotations)
            self._annotations.append(annotation)
            yield self._event(
                "output_text.annotation.added", content_index=0, annotation_index=place, annotation=annotation
            )

    def ended(self, status: str) -> Iterator[Event]:
        part = self._part()
        yield self._event("output_text.done", content_index=0, text=part["text"], logprobs=part["logprobs"])
        yield self._event("content_part.done", content_index=0, part=part)
        yield from super().ended(status)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [self._part()] if self._begun else [],
        }

    def _part(self) -> dict[str, Any]:
        return {
            "type": "output_text",
            "text": "".join(self._texts),
            "annotations": list(self._annotations),
            "logprobs": list(self._logprobs),
        }


class ReasoningItem(_Placed):
    """What a model thinks: its own words as content or, with ``summarises``, in place of a summary."""

    def __init__(self, item_id: str, place: int, *, summarises: bool, seals: bool) -> None:
        super().__init__(item_id, place)
        self._summarises = summarises
        self._seals = seals
        self._texts: list[str] = []
        self._sealed = ""
        self._begun = False

    def opened(self) -> Iterator[Event]:
        yield from super().opened()
        self._begun = True
        yield self._part_event("added")

    def add(self, text: str) -> Iterator[Event]:
        self._texts.append(text)
        yield self._text_event("delta", delta=text)

    def ended(self, status: str) -> Iterator[Event]:
        text = "".join(self._texts)
        yield self._text_event("done", text=text)
        yield self._part_event("done")
        self._sealed = sealing.sealed(text) if self._seals else ""
        yield from super().ended(status)

    def shown(self) -> dict[str, Any]:
        parts = [self._part()] if self._begun else []
        shown: dict[str, Any] = {"id": self.id, "type": "reasoning", "status": self.status}
        shown |= {"summary": parts} if self._summarises else {"summary": [], "content": parts}
        return shown | ({"encrypted_content": self._sealed} if self._sealed else {})

    def _part(self) -> dict[str, str]:
        return {"type": "summary_text" if self._summarises else "reasoning_text", "text": "".join(self._texts)}

    def _part_event(self, what: str) -> Event:
        if self._summarises:
            return self._event(f"reasoning_summary_part.{what}", summary_index=0, part=self._part())
        return self._event(f"content_part.{what}", content_index=0, part=self._part())

    def _text_event(self, what: str, **fields: str) -> Event:
        if self._summarises:
            return self._event(f"reasoning_summary_text.{what}", summary_index=0, **fields)
        return self._event(f"reasoning_text.{what}", content_index=0, **fields)


class CallItem(_Placed):
    """A call of a function."""

    def __init__(self, item_id: str, place: int, *, call_id: str, name: str, namespace: str = "") -> None:
        super().__init__(item_id, place)
        self._call_id = call_id
        self._name = name
        self._of = {"namespace": namespace} if namespace else {}
        self._arguments: list[str] = []

    def add(self, arguments: str) -> Iterator[Event]:
        self._arguments.append(arguments)
        yield self._event("function_call_arguments.delta", delta=arguments)

    def ended(self, status: str) -> Iterator[Event]:
        if not any(self._arguments):
            yield from self.add("{}")
        arguments = "".join(self._arguments)
        yield self._event("function_call_arguments.done", name=self._name, arguments=arguments)
        yield from super().ended(status)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "call_id": self._call_id,
            "name": self._name,
            **self._of,
            "arguments": "".join(self._arguments),
        }


class CustomCallItem(_Placed):
    """A call of a custom tool, whose input is known when the model's arguments are complete."""

    def __init__(self, item_id: str, place: int, *, call_id: str, name: str, namespace: str = "") -> None:
        super().__init__(item_id, place)
        self._call_id = call_id
        self._name = name
        self._of = {"namespace": namespace} if namespace else {}
        self._arguments: list[str] = []
        self._input = ""

    def add(self, arguments: str) -> Iterator[Event]:
        self._arguments.append(arguments)
        yield from ()

    def ended(self, status: str) -> Iterator[Event]:
        self._input = _input_of("".join(self._arguments))
        yield self._event("custom_tool_call_input.delta", delta=self._input)
        yield self._event("custom_tool_call_input.done", input=self._input)
        yield from super().ended(status)

    def shown(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "custom_tool_call",
            "status": self.status,
            "call_id": self._call_id,
            "name": self._name,
            **self._of,
            "input": self._input,
        }


def _input_of(arguments: str) -> str:
    """Return the text that a model gives a custom tool; all it wrote, where it kept to no form."""
    try:
        found = codec.loads(arguments)
    except ValueError:
        return arguments
    values = list(found.values()) if isinstance(found, dict) else []
    text = found[INPUT] if values and INPUT in found else values[0] if len(values) == 1 else None
    return text if isinstance(text, str) else arguments


class SearchItem(_Placed):
    """A search that was made before the model was asked."""

    def __init__(self, item_id: str, place: int, *, queries: Sequence[str], results: Sequence[Json] | None) -> None:
        super().__init__(item_id, place)
        self._queries = list(queries)
        self._results = results

    def opened(self) -> Iterator[Event]:
        yield from super().opened()
        for name in ("in_progress", "searching", "completed"):
            yield self._event(f"file_search_call.{name}")

    def shown(self) -> dict[str, Any]:
        is_done = self.status == COMPLETED and self._results is not None
        return {
            "id": self.id,
            "type": "file_search_call",
            "status": self.status,
            "queries": self._queries,
            "results": list(self._results or ()) if is_done else None,
        }
