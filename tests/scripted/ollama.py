"""What Ollama generates (the handlers of Ollama server/routes.go, the types of Ollama api/types.go)."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import gojson, tokens
from .exchange import NDJSON, Exchange, generation_time, raw, whole
from .gojson import dump, refuse
from .listing import find
from .model import Residency, ScriptedModel, Shelf
from .recorded import Recorded
from .reply import Piece, Reply, ToolCall
from .script import Handler, Script

_KEEP_ALIVE = 300.0  # OLLAMA_KEEP_ALIVE

_clock_lock = threading.Lock()
_clock_last = 0


def chat(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = gojson.decode(recorded.body, "ChatRequest")
    if not request.get("model"):
        refuse("model is required")
    work = _prepare(shelf, request, needs="chat", empty=not request.get("messages"))
    if isinstance(work, Exchange):
        return work
    prompt = sum(_message_tokens(message) for message in request["messages"])
    work.fit(prompt)
    return _generate(work, script.speak(recorded, work.model.name), chat=True)


def generate(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = gojson.decode(recorded.body, "GenerateRequest")
    work = _prepare(shelf, request, needs="generate", empty=not request.get("prompt"))
    if isinstance(work, Exchange):
        return work
    work.fit(tokens.count(*(request.get(key) or "" for key in ("system", "prompt", "suffix"))))
    return _generate(work, script.speak(recorded, work.model.name), chat=False)


def embed(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = gojson.decode(recorded.body, "EmbedRequest")
    given = request.get("input")
    texts = [given] if isinstance(given, str) and given else given or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        refuse("invalid input type")
    model = find(shelf, request.get("model") or "")
    keep = gojson.keep_alive(request.get("keep_alive"))
    gojson.check_options(request.get("options") or {})
    work = _Work(shelf, request, model, _KEEP_ALIVE if keep is None else keep)
    if texts and not model.can("embedding"):
        # llama-server's own words and status, passed on.
        refuse("This server does not support embeddings. Start it with `--embeddings`", 501)
    counts = [tokens.count(text) for text in texts]
    if request.get("truncate") is False and any(count > work.window for count in counts):
        refuse("the input length exceeds the context length")
    reply = script.take(recorded.path, model.name) or Reply()
    if reply.is_raw:
        return raw(reply, dump({"error": reply.error}))
    answer: dict[str, object] = {"model": request["model"], "embeddings": reply.embeddings}
    if reply.embeddings is None:
        size = request.get("dimensions") or 0
        answer["embeddings"] = [tokens.vector(text, model.embedding_length, size) for text in texts]
    if texts:
        total = sum(min(count, work.window) for count in counts)
        spent = _metrics(reply, total if reply.prompt_tokens is None else reply.prompt_tokens, 0)
        kept = ("total_duration", "load_duration", "prompt_eval_count")
        answer |= {key: value for key, value in spent.items() if key in kept}
    return whole(dump(answer), reply=reply, counts=_counts(answer), on_loaded=work.load, on_finished=work.release)


@dataclass(slots=True)
class _Work:
    """A request that is fit to be run, on the model it is for."""

    shelf: Shelf
    request: Mapping[str, Any]
    model: ScriptedModel
    keep: float  # seconds the model stays in memory; 0 unloads it afterwards
    prompt: int = 0

    @property
    def window(self) -> int:
        """The loaded context: at least 4, at most what the model was trained for."""
        asked = (self.request.get("options") or {}).get("num_ctx") or self.shelf.num_ctx
        return max(4, min(int(asked), self.model.context_length))

    @property
    def streamed(self) -> bool:
        """Streaming is Ollama's default: only an explicit false turns it off."""
        return self.request.get("stream") is not False

    def fit(self, prompt: int) -> None:
        """Cut the prompt to the window, or refuse it where the client does not want that (truncate false)."""
        if prompt > self.window and self.request.get("truncate") is False:
            # The body of llama-server as a string in Ollama's own, as seen in ollama#16800.
            inner = {
                "code": 400,
                "message": f"request ({prompt} tokens) exceeds the available context size"
                f" ({self.window} tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": prompt,
                "n_ctx": self.window,
            }
            refuse(dump({"error": inner}).decode())
        self.prompt = min(prompt, self.window)

    def load(self) -> None:
        self.shelf.loaded[self.model.name] = Residency.kept(self.keep or 1.0, context_length=self.window)

    def release(self) -> None:
        if self.keep == 0:
            self.shelf.loaded.pop(self.model.name, None)


def _prepare(shelf: Shelf, request: Mapping[str, Any], *, needs: str, empty: bool) -> "_Work | Exchange":
    """Check a request in the order of ChatHandler; an empty one is answered, for it only loads or unloads."""
    asked = gojson.keep_alive(request.get("keep_alive"))
    if not 0 <= (request.get("top_logprobs") or 0) <= 20:
        refuse("top_logprobs must be between 0 and 20")
    name = request.get("model") or ""
    model = find(shelf, name)
    work = _Work(shelf, request, model, _KEEP_ALIVE if asked is None else asked)
    if empty and asked == 0:
        return _idle(work, "unload", chat=needs == "chat")
    if request.get("think") and not model.can("thinking"):
        refuse(f'"{name}" does not support thinking')
    if not model.can("completion"):
        refuse(f'"{name}" does not support {needs}')
    for key, capability in (("tools", "tools"), ("suffix", "insert")):
        if request.get(key) and not model.can(capability):
            refuse(f"{model.full_name} does not support {capability}")
    gojson.check_options(request.get("options") or {})
    if empty:
        return _idle(work, "load", chat=needs == "chat")
    if isinstance(text := request.get("format"), str) and text not in ("", "json"):
        refuse(f'invalid format: "\\"{text}\\""; expected "json" or a valid JSON Schema object', 500)
    return work


def _idle(work: _Work, reason: str, *, chat: bool) -> Exchange:
    """Load or unload a model without a prompt; `stream` plays no part."""
    answer = _head(work) | _body(Piece(), chat=chat) | {"done": True, "done_reason": reason}
    delay = work.shelf.load_delay if reason == "load" and work.model.name not in work.shelf.loaded else 0.0
    return whole(dump(answer), reply=Reply(load_delay=delay), on_loaded=work.load, on_finished=work.release)


def _generate(work: _Work, reply: Reply, *, chat: bool) -> Exchange:
    """Put a reply into the objects of `/api/chat` or `/api/generate`."""
    if reply.is_raw:
        return raw(reply, dump({"error": reply.error}))
    if reply.error_after is not None and (reply.error_after == 0 or not work.streamed):
        # Nothing was written yet, so the error still has a status (streamResponse in server/routes.go).
        return whole(dump({"error": reply.error}), reply=reply, status=500, pause=generation_time(reply))
    pieces = reply.pieces()
    done = _done(work, reply, pieces)
    counts = _counts(done)
    probable = _logprobs(work, reply)
    if not work.streamed:
        if reply.end_without_done:
            done = {"done": False}  # the last object it had, as ChatHandler joins them
        answer = _head(work) | _body(_joined(pieces), chat=chat) | _told(probable) | done
        return whole(
            dump(answer),
            reply=reply,
            pause=generation_time(reply),
            counts=counts,
            on_loaded=work.load,
            on_finished=work.release,
        )
    lines = [
        _head(work) | _body(piece, chat=chat) | _told(probable[place : place + 1]) | {"done": False}
        for place, piece in enumerate(pieces)
    ]
    trailer = _head(work) | ({} if reply.trailer == "no_message" else _body(Piece(), chat=chat)) | done
    if reply.trailer == "shared" and lines and not reply.faulty:
        trailer = lines.pop() | done
    return Exchange(
        pieces=tuple(dump(line) + b"\n" for line in lines),
        reply=reply,
        content_type=NDJSON,
        error=dump({"error": reply.error}) + b"\n",
        ending=dump(trailer) + b"\n",
        streamed=True,
        counts=counts,
        on_loaded=work.load,
        on_finished=work.release,
    )


def _head(work: _Work) -> dict[str, object]:
    return {"model": work.request["model"], "created_at": _created_at()}


def _body(piece: Piece, *, chat: bool) -> dict[str, object]:
    """Write a piece as `message` of chat, or as the fields of generate."""
    optional: dict[str, object] = {}
    if piece.thinking:
        optional["thinking"] = piece.thinking
    if piece.tool_calls:
        optional["tool_calls"] = [_call(call) for call in piece.tool_calls]
    if chat:
        return {"message": {"role": "assistant", "content": piece.content, **optional}}
    return {"response": piece.content, **optional}


def _call(call: ToolCall) -> dict[str, object]:
    function = {"index": call.index or 0, "name": call.name, "arguments": dict(call.arguments)}
    return {"id": call.id, "function": function} if call.id is not None else {"function": function}


def _joined(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        content="".join(piece.content for piece in pieces),
        thinking="".join(piece.thinking for piece in pieces),
        tool_calls=tuple(call for piece in pieces for call in piece.tool_calls),
    )


def _done(work: _Work, reply: Reply, pieces: Sequence[Piece]) -> dict[str, object]:
    reason = {"done_reason": reply.done_reason} if reply.done_reason is not None else {}
    prompt = work.prompt if reply.prompt_tokens is None else reply.prompt_tokens
    completion = _said(pieces) if reply.completion_tokens is None else reply.completion_tokens
    return {"done": True, **reason, **_metrics(reply, prompt, completion)}


def _said(pieces: Sequence[Piece]) -> int:
    return sum(tokens.count(piece.content, piece.thinking) + 8 * len(piece.tool_calls) for piece in pieces)


def _counts(done: Mapping[str, Any]) -> tuple[int, int]:
    return done.get("prompt_eval_count", 0), done.get("eval_count", 0)


def _metrics(reply: Reply, prompt: int, completion: int) -> dict[str, int]:
    """Give counts, and durations in nanoseconds; what is zero is absent (omitempty)."""
    load = int(reply.load_delay * 1e9) + 1_234_567
    spent = {
        "total_duration": load + 1_000_000 * prompt + 20_000_000 * completion,
        "load_duration": load,
        "prompt_eval_count": prompt,
        "prompt_eval_duration": 1_000_000 * prompt,
        "eval_count": completion,
        "eval_duration": 20_000_000 * completion,
    }
    return {key: value for key, value in spent.items() if value}


def _logprobs(work: _Work, reply: Reply) -> list[dict[str, Any] | None]:
    """Give the log probabilities of each piece, where the request asks for them."""
    if not work.request.get("logprobs"):
        return []
    return reply.token_logprobs(work.request.get("top_logprobs") or 0)


def _told(entries: Sequence[dict[str, Any] | None]) -> dict[str, object]:
    """Write the log probabilities of one piece, or of all; the field is there where they were asked for."""
    return {"logprobs": [entry for entry in entries if entry]} if entries else {}


def _message_tokens(message: Mapping[str, Any]) -> int:
    """Count a message, and one token for the role that the template writes."""
    return 1 + tokens.count(message.get("content") or "", message.get("thinking") or "")


def _created_at() -> str:
    """Write the time with nine fraction digits, never the same twice.

    The last digit is never zero, because Go's RFC3339Nano would leave it out.
    """
    global _clock_last
    with _clock_lock:
        now = max(_clock_last + 1, time.time_ns())
        _clock_last = now if now % 10 else now + 1
        seconds, fraction = divmod(_clock_last, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/api/chat": {"POST": chat},
    "/api/generate": {"POST": generate},
    "/api/embed": {"POST": embed},
}
