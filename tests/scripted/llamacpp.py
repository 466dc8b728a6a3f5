"""An OpenAI-compatible server in llama.cpp's manner (its tools/server)."""

import base64
import json
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from . import tokens
from .completion import Completion
from .exchange import EVENTS, Exchange, Refusal, generation_time, raw, whole
from .model import ScriptedModel, Shelf
from .recorded import Recorded
from .reply import Reply
from .script import Handler, Script

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error(status: int, message: str, kind: str | None = None, **extra: object) -> dict[str, object]:
    """Write llama.cpp's error object, whose code is a number."""
    kind = kind or _TYPES.get(status, "server_error")
    return {"error": {"code": status, "message": message, "type": kind, **extra}}


def refuse(status: int, message: str, kind: str | None = None, **extra: object) -> NoReturn:
    raise Refusal(status, dump(error(status, message, kind, **extra)))


def health(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    return whole(dump({"status": "ok"}))


def models(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    return whole(dump({"object": "list", "data": [_listed(model) for model in list(shelf.models)]}))


def tokenize(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    content = _decode(recorded.body).get("content", "")
    return whole(dump({"tokens": [tokens.token_id(token) for token in tokens.tokenize(content)]}))


def chat(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = _decode(recorded.body)
    if "messages" not in request:
        refuse(400, "'messages' is required")
    if not isinstance(request["messages"], list):
        refuse(400, "Expected 'messages' to be an array")
    model = _talker(shelf, request)
    if request.get("tools") and not model.can("tools"):
        refuse(500, "tools param requires --jinja flag")
    prompt = sum(1 + tokens.count(_text(message, model)) for message in request["messages"])
    _fit(prompt, model)
    return _complete(request, script.speak(recorded, model.name), model, prompt, chat=True)


def completions(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = _decode(recorded.body)
    if "prompt" not in request:
        refuse(400, '"prompt" is required')
    model = _talker(shelf, request)
    prompt = tokens.count(str(request["prompt"]))
    _fit(prompt, model)
    return _complete(request, script.speak(recorded, model.name), model, prompt, chat=False)


def embeddings(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = _decode(recorded.body)
    model = _model(shelf, request)
    if not model.can("embedding"):
        refuse(501, "This server does not support embeddings. Start it with `--embeddings`")
    texts = _inputs(request.get("input"))
    encoding = request.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        refuse(400, "The format to return the embeddings in. Can be either float or base64")
    counts = [tokens.count(text) for text in texts]
    _fit(max(counts), model)
    reply = script.take(recorded.path, model.name) or Reply()
    if reply.is_raw:
        return raw(reply, dump(error(reply.status, reply.error)))
    vectors = reply.embeddings or [tokens.vector(text, model.embedding_length) for text in texts]
    used = sum(counts) if reply.prompt_tokens is None else reply.prompt_tokens
    answer = {
        "model": request.get("model", model.name),
        "object": "list",
        "usage": {"prompt_tokens": used, "total_tokens": used},
        "data": [_embedding(place, vector, encoding) for place, vector in enumerate(vectors)],
    }
    return whole(dump(answer), reply=reply, counts=(used, 0))


def _complete(request: Mapping[str, Any], reply: Reply, model: ScriptedModel, prompt: int, *, chat: bool) -> Exchange:
    """Put a reply into a chat or text completion, streamed or not."""
    if reply.is_raw:
        return raw(reply, dump(error(reply.status, reply.error)))
    streamed = bool(request.get("stream"))
    if reply.error_after is not None and not streamed:
        return whole(dump(error(500, reply.error)), reply=reply, status=500, pause=generation_time(reply))
    writer = Completion(request, reply, model, prompt, chat=chat)
    if not streamed:
        return whole(dump(writer.whole()), reply=reply, pause=generation_time(reply), counts=writer.counts)
    return Exchange(
        pieces=tuple(_event(delta) for delta in writer.deltas()),
        reply=reply,
        content_type=EVENTS,
        opening=_event(writer.role()) if chat else b"",
        error=_event(error(500, reply.error)),
        ending=b"".join(_event(chunk) for chunk in writer.last()) + b"data: [DONE]\n\n",
        streamed=True,
        early_headers=True,
        counts=writer.counts,
    )


def _event(value: object) -> bytes:
    return b"data: " + dump(value) + b"\n\n"


def _decode(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError as broken:
        refuse(500, f"[json.exception.parse_error.101] parse error: {broken}")
    if not isinstance(request, dict):
        refuse(400, "the request body must be a JSON object")
    return request


def _model(shelf: Shelf, request: Mapping[str, Any]) -> ScriptedModel:
    """Find the model; a request without one gets the first, as llama.cpp serves only one.

    A name that is not there is refused as vLLM does, so that a test notices a wrong one.
    """
    name = request.get("model")
    model = shelf.find(name) if name else next(iter(shelf.models), None)
    if model is None:
        refuse(404, f"model '{name}' not found")
    return model


def _talker(shelf: Shelf, request: Mapping[str, Any]) -> ScriptedModel:
    model = _model(shelf, request)
    if not model.can("completion"):
        refuse(501, "This server does not support completions. Start it without `--embeddings`")
    return model


def _fit(prompt: int, model: ScriptedModel) -> None:
    """Refuse a prompt that is longer than the context, which llama.cpp fixes at its start."""
    if prompt > model.context_length:
        refuse(
            400,
            f"request ({prompt} tokens) exceeds the available context size ({model.context_length} tokens),"
            " try increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=prompt,
            n_ctx=model.context_length,
        )


def _text(message: Any, model: ScriptedModel) -> str:
    """Read the text of a message, and refuse what llama.cpp cannot read."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        refuse(400, "Missing 'role' in message")
    for call in message.get("tool_calls") or ():
        arguments = call.get("function", {}).get("arguments")
        if not isinstance(arguments, str):
            kind = "object" if isinstance(arguments, dict) else "null"
            refuse(500, f"[json.exception.type_error.302] type must be string, but is {kind}")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        refuse(400, "Expected 'content' to be a string or an array")
    return "\n".join(_part(part, model) for part in content)


def _part(part: Any, model: ScriptedModel) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return str(part["text"])
    needs = {"image_url": ("vision", "image"), "input_audio": ("audio", "audio")}.get(str(kind))
    if needs is None:
        refuse(400, "unsupported content[].type")
    if not model.can(needs[0]):
        hint = "hint: if this is unexpected, you may need to provide the mmproj"
        refuse(500, f"{needs[1]} input is not supported - {hint}")
    return ""


def _inputs(given: Any) -> list[str]:
    """Read strings, or lists of token numbers, as texts."""
    if given is None or given == []:
        refuse(400, '"input" or "content" must be provided')
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        refuse(400, '"input" must be a string, an array of strings, or an array of tokens')
    if all(isinstance(item, int) for item in given):
        return [" ".join(str(item) for item in given)]
    return [item if isinstance(item, str) else " ".join(str(token) for token in item) for item in given]


def _embedding(place: int, vector: Sequence[float], encoding: str) -> dict[str, object]:
    item: dict[str, object] = {"index": place, "object": "embedding", "embedding": list(vector)}
    if encoding == "base64":
        packed = struct.pack(f"<{len(vector)}f", *vector)
        item |= {"embedding": base64.b64encode(packed).decode(), "encoding_format": "base64"}
    return item


def _listed(model: ScriptedModel) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llamacpp",
        "meta": {"n_ctx_train": model.context_length, "n_embd": model.embedding_length, "size": model.size},
    }


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/health": {"GET": health},
    "/v1/models": {"GET": models},
    "/v1/chat/completions": {"POST": chat},
    "/v1/completions": {"POST": completions},
    "/v1/embeddings": {"POST": embeddings},
    "/tokenize": {"POST": tokenize},
}
