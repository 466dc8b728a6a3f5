"""Chat requests as clients write them, and the calls they become, for tests of the pure modules."""

import json
from collections.abc import Iterable
from typing import Any

from gateway.chatrequest import parse_chat
from routing.backends.protocol import ChatCall, ChatRequest

HELLO = {"role": "user", "content": "Hello"}


def chat_body(**fields: Any) -> bytes:
    """Return the body of a chat request with ``fields`` beside (or instead of) a model and one message."""
    return json.dumps({"model": "auto", "messages": [HELLO]} | fields).encode()


def chat_request(**fields: Any) -> ChatRequest:
    return parse_chat(chat_body(**fields))


def chat_call(*, tag: str = "llama3.2:3b", capabilities: Iterable[str] | None = None, **fields: Any) -> ChatCall:
    """Return the call of a replica without settings of its own; ``capabilities`` None: its server does not tell."""
    request = chat_request(**fields)
    return ChatCall(
        model=tag,
        request=request,
        messages=request.messages,
        num_ctx=request.num_ctx,
        keep_alive=request.keep_alive,
        capabilities=None if capabilities is None else frozenset(capabilities),
    )


def tool(name: str = "get_weather", **schema: Any) -> dict[str, Any]:
    """Return a tool as a client declares it."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}} | schema
    return {"type": "function", "function": {"name": name, "description": "Look it up.", "parameters": parameters}}


def tool_turn(*calls: tuple[str, str, Any]) -> dict[str, Any]:
    """Return an assistant's turn that calls tools; each of ``calls`` is an id, a name and arguments."""
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ],
    }


def image(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url} | fields}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}
