"""The messages of a chat completion, from their JSON. Pure.

Source: openai/openai-python, src/openai/types/chat/chat_completion_message_param.py.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.fields import Fields, invalid, unsupported
from routing.backends import codec
from routing.backends.protocol import Image, Json, Message, Part, Text, ToolCall
from routing.exceptions import BadRequest

ROLES = ("system", "developer", "user", "assistant", "tool")
DATA_URI = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(?P<data>.*)\Z", re.DOTALL)
LONGEST_URL = 8192


def read_messages(fields: Fields) -> tuple[Message, ...]:
    messages = fields.array("messages")
    if not messages:
        raise BadRequest(
            '\'messages\' is missing or empty. Send at least one, such as {"role": "user", "content": "Hello"}.',
            param="messages",
            code="missing_required_parameter" if messages is None else "invalid_value",
        )
    return tuple(_message(message, f"messages[{number}]") for number, message in enumerate(messages))


READ_OF_MESSAGE = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "thinking"}
)


# Of assistants' turns, and with no counterpart on a model server.
REFUSED_OF_MESSAGE = {
    "function_call": "use 'tool_calls' instead",
    "audio": "no model here speaks; send what was said as 'content'",
}


def _message(data: Any, where: str) -> Message:
    if not isinstance(data, dict):
        raise invalid(where, f"'{where}' must be an object with 'role' and 'content'.")
    role = data.get("role")
    if role not in ROLES:
        raise invalid(f"{where}.role", f"'{where}.role' must be one of {', '.join(ROLES)}.")
    for name, why in REFUSED_OF_MESSAGE.items():
        if data.get(name):
            raise unsupported(f"{where}.{name}", f"'{where}.{name}' is not supported: {why}.")
    tool_calls = _tool_calls(data.get("tool_calls"), f"{where}.tool_calls")
    content = data.get("content")
    if content is None and isinstance(data.get("refusal"), str):
        content = data["refusal"]  # what the assistant said instead
    if content is None and not tool_calls and role != "assistant":
        raise invalid(f"{where}.content", f"'{where}.content' is missing.")
    for name in ("name", "tool_call_id"):
        if not isinstance(data.get(name), str | None):
            raise invalid(f"{where}.{name}", f"'{where}.{name}' must be a text.")
    reasoning = next((data[name] for name in ("reasoning_content", "reasoning", "thinking") if data.get(name)), "")
    return Message(
        role=role,
        parts=_parts(content, f"{where}.content"),
        content_is_null=content is None,
        reasoning=reasoning if isinstance(reasoning, str) else "",
        tool_calls=tool_calls,
        tool_call_id=data.get("tool_call_id"),
        name=data.get("name"),
        extra={name: value for name, value in data.items() if name not in READ_OF_MESSAGE},
    )


def _parts(content: Any, where: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise invalid(where, f"'{where}' must be a text or a list of parts.")
    return tuple(_part(part, f"{where}[{number}]") for number, part in enumerate(content))


def _part(part: Any, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    read = PART_READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise invalid(where, f"'{where}' must be a part of type text or image_url.")
    return read(part, where)


def _text_part(part: Json, where: str) -> Text:
    text = part.get("text", part.get("refusal"))
    if not isinstance(text, str):
        raise invalid(where, f"'{where}.text' must be a text.")
    return Text(text=text)


def _image_part(part: Json, where: str) -> Image:
    source = part.get("image_url")
    url = source.get("url") if isinstance(source, dict) else source
    if not isinstance(url, str) or not url:
        raise invalid(where, f"'{where}.image_url.url' must be a data URI, or an http(s) URL.")
    detail = source.get("detail") if isinstance(source, dict) else None
    return read_image(url, detail if isinstance(detail, str) else None, where, named="image_url.url")


def read_image(url: str, detail: str | None, where: str, *, named: str) -> Image:
    """Return the image at ``url``, an address or a data URI; raises BadRequest about the field ``named`` there."""
    if url[:8].lower().startswith(("http://", "https://")) and len(url) <= LONGEST_URL:
        return Image(data="", url=url, detail=detail)
    found = DATA_URI.match(url)
    if not found:
        raise _no_image(
            where, named, "must hold the image itself, as data:image/png;base64,… , or an http(s) URL to fetch it from"
        )
    data = found["data"].strip()
    if not data or not _is_base64(data):
        raise _no_image(where, named, "holds no valid base64")
    return Image(data=data, mime=found["mime"] or "", detail=detail)


def _no_image(where: str, named: str, what: str) -> BadRequest:
    return BadRequest(f"'{where}.{named}' {what}.", param=where, code="invalid_image_url")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


PART_READERS: Mapping[str, Callable[[Json, str], Part]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
}


def _tool_calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise invalid(where, f"'{where}' must be a list.")
    return tuple(_tool_call(call, f"{where}[{number}]") for number, call in enumerate(value))


def _tool_call(call: Any, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid(where, f"'{where}' must hold a function with a name.")
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, dict):
        arguments = codec.dumps(arguments).decode()
    try:
        valid = isinstance(codec.loads(arguments), dict)
    except (ValueError, TypeError):
        valid = False
    if not valid:
        raise invalid(
            f"{where}.function.arguments", f"'{where}.function.arguments' must be the JSON text of an object."
        )
    return ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=arguments)
