"""The items of a conversation into the messages of a chat. Pure.

What a model said in one turn comes as several items (thinking, text, calls) and is one message here.
Source: openai/openai-python, src/openai/types/responses/response_input_item.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.fields import invalid, unsupported
from gateway.responses import sealing
from gateway.responses.ids import input_id
from gateway.responses.parts import Attachments, read_parts
from routing.backends import codec
from routing.backends.protocol import Image, Json, Message, Part, Text, ToolCall
from routing.exceptions import BadRequest

ROLES = ("user", "assistant", "system", "developer")
MOST_ITEMS = 20_000
# Fields that no kind of item is changed by here.
WITHOUT_EFFECT = frozenset({"type", "id", "status", "phase", "caller", "created_by", "internal_chat_message_metadata"})
INPUT = "input"  # the parameter of a custom tool's function that holds what it is given


def qualified(namespace: str, name: str) -> str:
    """Return the name by which models know a tool of a namespace."""
    return f"{namespace}__{name}"


def normalised(given: Any) -> list[Any]:
    """Return ``input`` as a list of items; raises BadRequest."""
    if given is None:
        return []
    if isinstance(given, str):
        return [_user(given)] if given else []
    if not isinstance(given, list):
        raise invalid("input", "'input' must be a text or a list of items.")
    if len(given) > MOST_ITEMS:
        raise invalid("input", f"'input' holds {len(given):,} items; {MOST_ITEMS:,} are the most.")
    return given


def _user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def kind_of(item: Any) -> str | None:
    """Return what kind of item it is; messages and references may come without saying so."""
    if not isinstance(item, dict):
        return None
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference" if "id" in item else None
    return kind if isinstance(kind, str) else None


def kept(items: Iterable[Json], response: str) -> Iterator[dict[str, Any]]:
    """Yield items as they are kept and listed: each with an id, and the content of messages as parts."""
    for place, item in enumerate(items):
        kind = kind_of(item) or "message"
        whole: dict[str, Any] = {**item, "type": kind}
        if not isinstance(whole.get("id"), str):
            whole["id"] = input_id(kind, response, place)
        if kind == "message":
            whole.setdefault("status", "completed")
            if isinstance(text := item.get("content"), str):
                said = item.get("role") == "assistant"
                part = {"type": "output_text", "text": text, "annotations": []}
                whole["content"] = [part if said else {"type": "input_text", "text": text}]
        yield whole


@dataclass(slots=True)
class _Turn:
    """What a model said, as far as it is read."""

    parts: list[Part] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def message(self) -> Message | None:
        if not self.parts and not self.calls:
            return None  # thinking that came to nothing
        return Message(
            role="assistant",
            parts=tuple(self.parts),
            content_is_null=not self.parts,
            reasoning="\n\n".join(self.reasoning),
            tool_calls=tuple(self.calls),
        )


class Transcript:
    """Items, added in their order, as messages. ``ignored`` names what of them nobody reads."""

    def __init__(self, attachments: Attachments, stored: Mapping[str, Json]) -> None:
        self._attachments = attachments
        self._stored = stored
        self._messages: list[Message] = []
        self._turn: _Turn | None = None
        self._calls: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self.ignored: dict[str, None] = {}

    def add(self, item: Any, where: str) -> None:
        """Add one item; raises BadRequest about ``where``."""
        kind = kind_of(item)
        if kind == "item_reference":
            item, kind = self._referred(item, where)
        reader = _READERS.get(kind or "")
        if reader is None:
            raise _strange(kind, where)
        read, fields = reader
        unread = (name for name, value in item.items() if value is not None and name not in WITHOUT_EFFECT | fields)
        self.ignored.update((f"input.{name}", None) for name in unread)
        read(self, item, where)

    def messages(self) -> tuple[Message, ...]:
        """Return all of them; raises BadRequest where a call has no answer."""
        self._end_turn()
        if self._open:
            call_id, name = next(iter(self._open.items()))
            raise invalid(
                "input",
                f"No tool output found for the call '{call_id[:100]}' of '{name[:100]}'. Send its function_call_output "
                "with the same call_id.",
            )
        return tuple(self._messages)

    # --- the kinds -----------------------------------------------------------------------------------------------

    def message(self, item: Json, where: str) -> None:
        role = item.get("role")
        if role not in ROLES:
            raise invalid(f"{where}.role", f"'{where}.role' must be one of {', '.join(ROLES)}.")
        if item.get("content") is None:
            raise invalid(f"{where}.content", f"'{where}.content' is missing.")
        parts = read_parts(item["content"], f"{where}.content", self._attachments)
        if role != "assistant":
            self._end_turn()
            self._messages.append(Message(role=str(role), parts=parts))
            return
        if any(isinstance(part, Image) for part in parts):
            raise invalid(f"{where}.content", f"'{where}.content' is an assistant's and cannot hold images.")
        self._saying().parts.extend(parts)

    def reasoning(self, item: Json, where: str) -> None:
        if text := self._thought(item, where):
            self._saying().reasoning.append(text)

    def function_call(self, item: Json, where: str) -> None:
        arguments = item.get("arguments") or "{}"
        try:
            valid = isinstance(arguments, str) and isinstance(codec.loads(arguments), dict)
        except ValueError:
            valid = False
        if not valid:
            raise invalid(f"{where}.arguments", f"'{where}.arguments' must be the JSON text of an object.")
        self._call(item, where, str(arguments))

    def custom_tool_call(self, item: Json, where: str) -> None:
        given = item.get("input")
        if not isinstance(given, str):
            raise invalid(f"{where}.input", f"'{where}.input' must be a text.")
        self._call(item, where, codec.dumps({INPUT: given}).decode())

    def tool_output(self, item: Json, where: str) -> None:
        call_id, output = item.get("call_id"), item.get("output")
        if not isinstance(call_id, str) or call_id not in self._calls:
            raise invalid(
                f"{where}.call_id",
                f"No tool call found for '{where}.call_id'. Send the call it belongs to before it, as the model made "
                "it, or the response that has it as previous_response_id.",
            )
        if output is None:
            raise invalid(f"{where}.output", f"'{where}.output' is missing.")
        parts = read_parts(output, f"{where}.output", self._attachments)
        self._end_turn()
        self._open.pop(call_id, None)
        self._messages.append(Message(role="tool", parts=parts, tool_call_id=call_id, name=self._calls[call_id]))

    def file_search_call(self, item: Json, where: str) -> None:
        """Pass over a search: what it found stood in the prompt of the answer after it."""

    # --- their pieces --------------------------------------------------------------------------------------------

    def _call(self, item: Json, where: str, arguments: str) -> None:
        call_id, name, namespace = item.get("call_id"), item.get("name"), item.get("namespace")
        for field_name, value in (("call_id", call_id), ("name", name)):
            if not isinstance(value, str) or not value:
                raise invalid(f"{where}.{field_name}", f"'{where}.{field_name}' must be a text that is not empty.")
        if not isinstance(namespace, str | None):
            raise invalid(f"{where}.namespace", f"'{where}.namespace' must be a text.")
        known = qualified(namespace, str(name)) if namespace else str(name)
        call = ToolCall(id=str(call_id), name=known, arguments=arguments)
        self._calls[call.id] = self._open[call.id] = call.name
        self._turn = self._turn or _Turn()
        self._turn.calls.append(call)

    def _saying(self) -> _Turn:
        """Return the turn that goes on: text after text is a new one, unless calls wait for their answers."""
        if self._turn and self._turn.parts and not self._turn.calls:
            self._end_turn()
        self._turn = self._turn or _Turn()
        return self._turn

    def _end_turn(self) -> None:
        if self._turn and (message := self._turn.message()):
            self._messages.append(message)
        self._turn = None

    def _thought(self, item: Json, where: str) -> str:
        token = item.get("encrypted_content")
        if isinstance(token, str) and token:
            if (text := sealing.opened(token)) is not None:
                return text
            # Of another endpoint, or from before SECRET_KEY was changed. The conversation goes on without.
            self.ignored["input.encrypted_content"] = None
        for name in ("content", "summary"):
            parts = item.get(name)
            if isinstance(parts, list) and parts:
                read = read_parts([_as_text(part) for part in parts], f"{where}.{name}", {})
                return "\n\n".join(part.text for part in read if isinstance(part, Text))
        return ""

    def _referred(self, item: Json, where: str) -> tuple[Json, str | None]:
        found = self._stored.get(item["id"]) if isinstance(item.get("id"), str) else None
        if found is None:
            raise BadRequest(
                f"'{where}' refers to an item that is not kept here. Send the items themselves: clients do so with "
                "'store' false. An administrator can have responses kept ('keep texts' on the API key's page).",
                param=where,
                code="item_not_found",
            )
        return found, kind_of(found)


def _as_text(part: Any) -> Any:
    """Return a part of a reasoning item as one of a message."""
    is_ours = isinstance(part, dict) and part.get("type") in ("reasoning_text", "summary_text")
    return {**part, "type": "output_text"} if is_ours else part


def _strange(kind: str | None, where: str) -> BadRequest:
    if kind is None:
        return invalid(where, f"'{where}' must be an object with 'type', or a message with 'role' and 'content'.")
    return unsupported(
        where,
        f"'{where}' is an item of type '{kind[:60]}', which is not supported. There are: {', '.join(_READERS)} and "
        "item_reference.",
    )


_READERS: Mapping[str, tuple[Callable[[Transcript, Json, str], None], frozenset[str]]] = {
    "message": (Transcript.message, frozenset({"role", "content"})),
    "reasoning": (Transcript.reasoning, frozenset({"encrypted_content", "content", "summary"})),
    "function_call": (Transcript.function_call, frozenset({"call_id", "name", "namespace", "arguments"})),
    "function_call_output": (Transcript.tool_output, frozenset({"call_id", "output", "name", "namespace"})),
    "custom_tool_call": (Transcript.custom_tool_call, frozenset({"call_id", "name", "namespace", "input"})),
    "custom_tool_call_output": (Transcript.tool_output, frozenset({"call_id", "output", "name", "namespace"})),
    "file_search_call": (Transcript.file_search_call, frozenset({"queries", "results"})),
}
