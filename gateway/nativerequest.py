"""Ollama's native API as this endpoint speaks it: its JSON into requests. Pure.

A native chat is rewritten as the chat completion that says the same and read by gateway/chatrequest.py, so that both
doors check alike. Different from Ollama: a prompt that does not fit is an error, whatever ``truncate`` and ``shift``
say of chats; embeddings are cut only where ``truncate`` is true in so many words.

Source: ollama/ollama, api/types.go and server/routes.go.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.aliases import settled
from gateway.chatrequest import read_chat
from gateway.embeddings import EmbeddingRequest, dimensions, texts_of
from gateway.fields import Fields, invalid, json_object
from gateway.textrequest import SHARED, text_request, unread
from routing.backends.generation import TextRequest
from routing.backends.protocol import ChatRequest, Json
from routing.exceptions import BadRequest

LATEST = ":latest"
PASSED = (
    *("options", "keep_alive", "think", "tools", "logprobs", "top_logprobs", "metadata"),
    *("use_rag", "rag_collections", "rag"),
)
READ = frozenset({
    *PASSED, "model", "name", "messages", "stream", "format",
    "prompt", "suffix", "system", "images", "raw", "context", "template",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A request without a prompt, by which clients load a model, or unload it with a ``keep_alive`` of 0."""

    model: str
    keep_alive: str | int | float | None = None

    @property
    def reason(self) -> str:
        return "unload" if self.keep_alive in (0, "0", "0s") else "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A native request: ``model`` in the client's own spelling, which answers repeat."""

    model: str
    stream: bool
    request: ChatRequest | TextRequest | Load


def read(body: bytes) -> dict[str, Any]:
    """Return the object in ``body``; raises BadRequest."""
    if not body.strip():
        raise BadRequest("missing request body")
    return json_object(body)


def model_name(data: Mapping[str, Any]) -> str:
    """Return the model's name as the client wrote it; ``name`` is the older field."""
    name = data.get("model") or data.get("name")
    if not isinstance(name, str) or not name.strip():
        raise BadRequest("model is required", param="model", code="missing_required_parameter")
    return name.strip()


def parse_native_chat(data: Mapping[str, Any], known: Callable[[str], bool]) -> Asked:
    """Return the request of POST /api/chat; ``known`` tells which names exist."""
    asked = model_name(data)
    messages = data.get("messages") or []
    if not isinstance(messages, list):
        raise invalid("messages", "'messages' must be a list.")
    if not messages:
        return Asked(model=asked, stream=_streams(data), request=_load(data, known))
    return _chat(data, known, _messages(messages))


def parse_generate(data: Mapping[str, Any], known: Callable[[str], bool]) -> Asked:
    """Return the request of POST /api/generate.

    With a template it is a chat of one message; without one (``raw``), or with a ``suffix``, a text completion.
    """
    for name, instead in (("context", "send the conversation to /api/chat"), ("template", "use 'raw'")):
        if data.get(name):
            raise BadRequest(f"'{name}' is not supported; {instead}.", param=name, code="unsupported_parameter")
    prompt, suffix, system = (_text(data, name) for name in ("prompt", "suffix", "system"))
    if data.get("raw") or suffix:
        return _text_completion(data, known, prompt)
    if not prompt and not data.get("images"):
        return Asked(model=model_name(data), stream=_streams(data), request=_load(data, known))
    turns = [{"role": "system", "content": system}] if system else []
    return _chat(data, known, _messages([*turns, {"role": "user", "content": prompt, "images": data.get("images")}]))


def _text_completion(data: Mapping[str, Any], known: Callable[[str], bool], prompt: str) -> Asked:
    for name in ("images", "format", "system", "think"):
        if data.get(name):
            raise BadRequest(
                f"'{name}' does not go together with 'raw' or 'suffix'. Leave one of them out.",
                param=name,
                code="unsupported_parameter",
            )
    if not prompt:
        raise invalid("prompt", "'prompt' is empty. Send at least one character for the model to go on from.")
    shared = {name: data[name] for name in SHARED if name in data} | _logprobs(data)
    shared |= {"model": resolved(model_name(data), known), "stream": _streams(data)}
    rest = {name: value for name, value in data.items() if name in ("suffix", "raw") or name not in READ}
    request = text_request(shared, [prompt], rest)
    return Asked(model=model_name(data), stream=_streams(data), request=request)


def _chat(data: Mapping[str, Any], known: Callable[[str], bool], messages: Sequence[Json]) -> Asked:
    openai: dict[str, Any] = {name: data[name] for name in PASSED if data.get(name) is not None}
    openai |= {"model": resolved(model_name(data), known), "messages": messages, "stream": _streams(data)}
    if form := _response_format(data.get("format")):
        openai["response_format"] = form
    if isinstance(tools := openai.get("tools"), list):
        openai["tools"] = [{"type": "function"} | tool if isinstance(tool, dict) else tool for tool in tools]
    request = read_chat(Fields(settled(openai)))
    request = replace(request, ignored=(*request.ignored, *unread(data, READ)))
    return Asked(model=model_name(data), stream=_streams(data), request=request)


def parse_embed(data: Mapping[str, Any], known: Callable[[str], bool]) -> EmbeddingRequest:
    """Return the request of POST /api/embed; here an empty text is one, and no text at all is no error."""
    given = data.get("input")
    return EmbeddingRequest(
        model=resolved(model_name(data), known),
        texts=() if given in (None, "") else texts_of(given),
        dimensions=dimensions(data) if data.get("dimensions") else None,  # Go's 0 means "not given"
        truncate=data.get("truncate") is True,
        keep_alive=_load(data, known).keep_alive,
        options=Fields(data).object("options") or {},
    )


def parse_old_embeddings(data: Mapping[str, Any], known: Callable[[str], bool]) -> EmbeddingRequest:
    """Return the request of POST /api/embeddings, the older way: one ``prompt``."""
    prompt = _text(data, "prompt")
    return replace(parse_embed({**data, "input": None}, known), texts=(prompt,) if prompt else ())


def resolved(name: str, known: Callable[[str], bool]) -> str:
    """Return ``name`` without the tag that Ollama's clients add to names without one, unless it is the model's own."""
    return name if known(name) or not name.endswith(LATEST) else name.removesuffix(LATEST)


def _streams(data: Mapping[str, Any]) -> bool:
    return Fields(data).flag("stream") is not False  # Ollama's default is to stream


def _text(data: Mapping[str, Any], name: str) -> str:
    return Fields(data).text(name) or ""


def _load(data: Mapping[str, Any], known: Callable[[str], bool]) -> Load:
    keep_alive = Fields(data).get("keep_alive", (str, int, float), "seconds or a duration such as 5m")
    return Load(model=resolved(model_name(data), known), keep_alive=keep_alive)


def _logprobs(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("logprobs", "top_logprobs") if data.get(name) is not None}


def _response_format(value: Any) -> dict[str, Any] | None:
    if value in (None, ""):
        return None
    if value == "json":
        return {"type": "json_object"}
    if not isinstance(value, dict):
        raise invalid("format", "'format' must be \"json\" or a JSON Schema object.")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": value}}


def _messages(native: Sequence[Any]) -> list[Json]:
    """Return native messages as those of a chat completion.

    Ollama ties a tool's answer to its call by name or order; others need ids, so calls without one get theirs here.
    """
    messages: list[Json] = []
    waiting: list[tuple[str, Any]] = []
    for place, message in enumerate(native):
        if not isinstance(message, dict):
            raise invalid("messages", f"'messages[{place}]' must be an object with 'role' and 'content'.")
        role = str(message.get("role", "")).lower()
        found: dict[str, Any] = {
            "role": role,
            "content": _content(message, place),
            "reasoning": message.get("thinking"),
        }
        if message.get("tool_calls"):
            found["tool_calls"] = _calls(message["tool_calls"], place)
            waiting += [(call["id"], call.get("function", {}).get("name")) for call in found["tool_calls"]]
        if role == "tool":
            name = message.get("tool_name") or message.get("name")
            found["name"] = name
            found["tool_call_id"] = message.get("tool_call_id") or _answered(waiting, name)
        messages.append(found)
    return messages


def _content(message: Json, place: int) -> Any:
    content, images = message.get("content") or "", message.get("images")
    if not images:
        return content
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise invalid("messages", f"'messages[{place}].images' must be a list of images in base64.")
    text = [{"type": "text", "text": content}] if content else []
    urls = [image if image.startswith("data:") else f"data:;base64,{''.join(image.split())}" for image in images]
    return text + [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def _calls(calls: Any, place: int) -> list[dict[str, Any]]:
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise invalid("messages", f"'messages[{place}].tool_calls' must be a list of objects.")
    return [{**call, "id": call.get("id") or f"call_{place}_{number}"} for number, call in enumerate(calls)]


def _answered(waiting: list[tuple[str, Any]], name: Any) -> str | None:
    """Take from ``waiting`` the first call that a tool's answer may belong to, and return its id."""
    found = next((call for call in waiting if name in (None, call[1])), None)
    if found is None:
        return None
    waiting.remove(found)
    return found[0]
