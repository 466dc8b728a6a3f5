"""Events into the lines of Ollama's native API, and what else its answers are made of. Pure.

Source: ollama/ollama, api/types.go and server/routes.go.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.cited import Cited
from routing.backends import codec
from routing.backends.embeddings import Embeddings
from routing.backends.protocol import Delta, Finish, Json
from routing.exceptions import UpstreamFailed

# Clients switch features on by the server's version: this is the one whose API is followed here.
VERSION = "0.32.5"
HEADERS = {"Content-Type": "application/x-ndjson", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class LineWriter:
    """Events into the objects of /api/chat, or of /api/generate; durations are measured here, in nanoseconds."""

    def __init__(
        self,
        model: str,
        *,
        chat: bool,
        now: Callable[[], int] = time.time_ns,
        timer: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._model = model
        self._chat = chat
        self._now = now
        self._timer = timer
        self._started = timer()
        self._first: int | None = None
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._logprobs: list[Json] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._cited = Cited()
        self._finish: Finish | None = None

    def write(self, event: Delta | Cited | Finish) -> Iterator[Json]:
        """Yield what ``event`` completes. Tool calls come whole and last, since fragments of them are no JSON."""
        self.add(event)
        if isinstance(event, Cited):
            return  # it goes with the end
        if isinstance(event, Finish):
            if self._calls:
                yield self._head() | self._body(calls=self._tool_calls()) | {"done": False}
            yield self._head() | self._body() | self._end(event)
        elif event.content or event.reasoning or event.logprobs:
            yield self._head() | self._body(event.content, event.reasoning) | _told(event.logprobs) | {"done": False}

    @property
    def adjusted(self) -> tuple[str, ...]:
        return self._finish.adjusted if self._finish else ()

    def add(self, event: Delta | Cited | Finish) -> None:
        if self._first is None:
            self._first = self._timer()
        if isinstance(event, Cited):
            self._cited = event
            return
        if isinstance(event, Finish):
            self._finish = event
            return
        self._content.append(event.content)
        self._thinking.append(event.reasoning)
        self._logprobs.extend(event.logprobs)
        for piece in event.tool_calls:
            call = self._calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += piece.id or ""
            call["name"] += piece.name or ""
            call["arguments"] += piece.arguments

    def whole(self) -> Json:
        """Return the answer to a request that does not stream, once everything was added."""
        assert self._finish is not None
        body = self._body("".join(self._content), "".join(self._thinking), self._tool_calls())
        return self._head() | body | _told(self._logprobs) | self._end(self._finish)

    def idle(self, reason: str) -> Json:
        """Return the answer to a request without a prompt."""
        return self._head() | self._body() | {"done": True, "done_reason": reason}

    def _head(self) -> dict[str, Any]:
        return {"model": self._model, "created_at": rfc3339(self._now())}

    def _body(self, content: str = "", thinking: str = "", calls: Sequence[Json] = ()) -> dict[str, Any]:
        optional = ({"thinking": thinking} if thinking else {}) | ({"tool_calls": calls} if calls else {})
        if self._chat:
            return {"message": {"role": "assistant", "content": content, **optional}}
        return {"response": content, **optional}

    def _tool_calls(self) -> list[Json]:
        return [
            {
                "id": call["id"],
                "function": {"index": index, "name": call["name"], "arguments": _arguments(call["arguments"])},
            }
            for index, (_, call) in enumerate(sorted(self._calls.items()))
        ]

    def _end(self, finish: Finish) -> dict[str, Any]:
        ended, first = self._timer(), self._first or self._started
        usage = finish.usage
        return {
            "done": True,
            "done_reason": "length" if finish.reason == "length" else "stop",  # there is no other, tools or not
            "total_duration": ended - self._started,
            "prompt_eval_count": usage.prompt_tokens if usage else 0,
            "prompt_eval_duration": first - self._started,
            "eval_count": usage.completion_tokens if usage else 0,
            "eval_duration": max(1, ended - first),  # clients divide by it
            **self._grounding(),
        }

    def _grounding(self) -> dict[str, Any]:
        """Return what a grounded answer has beside Ollama's fields: OpenAI's annotations, sources and their trace."""
        annotations = self._cited.annotations
        told = {} if annotations is None else {"annotations": list(annotations)}
        return told | dict(self._cited.extension or {})


def _told(logprobs: Sequence[Json]) -> dict[str, Any]:
    return {"logprobs": list(logprobs)} if logprobs else {}


def _arguments(text: str) -> Json:
    try:
        arguments = codec.loads(text or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise UpstreamFailed("The model called a tool with arguments that are no JSON object. Try again.")
    return arguments


def rfc3339(nanoseconds: int) -> str:
    """Return a time since 1970 as Go writes it."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def embed_answer(model: str, found: Embeddings, nanoseconds: int) -> Json:
    return {
        "model": model,
        "embeddings": [list(vector) for vector in found.vectors],
        "total_duration": nanoseconds,
        "prompt_eval_count": found.prompt_tokens,
    }
