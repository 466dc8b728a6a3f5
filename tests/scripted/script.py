"""The queue of scripted replies."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .exchange import Exchange
from .model import Shelf, tagged
from .recorded import Recorded
from .reply import Reply

# A reply without a path is for a model that talks; embeddings and listings are asked for by path.
TALKING = frozenset({"/api/chat", "/api/generate", "/v1/chat/completions", "/v1/completions"})


@dataclass(slots=True, kw_only=True)
class Line:
    """One queued reply, what it is for, and how often it is still due (None: always)."""

    reply: Reply
    path: str | None
    model: str | None
    times: int | None

    def fits(self, path: str, model: str | None) -> bool:
        on_path = path == self.path if self.path else path in TALKING
        if self.model is None or not on_path:
            return on_path
        return model is not None and tagged(self.model).lower() == tagged(model).lower()


class Script:
    """Replies in the order they were queued, and the one for when the queue has nothing to say."""

    def __init__(self, default: "Reply | Callable[[Recorded], Reply] | None" = None) -> None:
        self.default: Reply | Callable[[Recorded], Reply] = default or greeting
        self._lines: list[Line] = []
        self._lock = threading.Lock()

    def add(self, line: Line) -> None:
        with self._lock:
            self._lines.append(line)

    def clear(self) -> None:
        with self._lock:
            self._lines.clear()

    def pending(self) -> list[Reply]:
        """List the replies that are still due."""
        with self._lock:
            return [line.reply for line in self._lines if line.times is not None]

    def take(self, path: str, model: str | None = None) -> Reply | None:
        """Take the first reply that fits, or None."""
        with self._lock:
            line = next((line for line in self._lines if line.fits(path, model)), None)
            if line is None:
                return None
            if line.times is not None:
                line.times -= 1
                if line.times < 1:
                    self._lines.remove(line)
            return line.reply

    def speak(self, recorded: Recorded, model: str) -> Reply:
        """Take the reply for a request to a model that talks."""
        reply = self.take(recorded.path, model)
        if reply is not None:
            return reply
        return self.default if isinstance(self.default, Reply) else self.default(recorded)


# What answers one method of one path.
Handler = Callable[[Shelf, Script, Recorded], Exchange]


def greeting(recorded: Recorded) -> Reply:
    """Answer with the model's name, within the limit the client has set."""
    request = recorded.json if isinstance(recorded.json, dict) else {}
    pieces = ["Hello", " from", f" {request.get('model', 'the model')}", "."]
    options = request.get("options")
    limits = (
        options.get("num_predict") if isinstance(options, dict) else None,
        request.get("max_completion_tokens"),
        request.get("max_tokens"),
    )
    limit = next((limit for limit in limits if isinstance(limit, int) and limit > 0), len(pieces))
    return Reply(
        content=pieces[:limit],
        done_reason="length" if limit < len(pieces) else "stop",
        completion_tokens=min(limit, len(pieces)),
    )
