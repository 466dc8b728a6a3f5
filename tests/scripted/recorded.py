"""What the server saw of one request, and how the exchange ended."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Where a request of Ollama's has what a model is to work on.
_CONTENT = {"/api/chat": "messages", "/api/generate": "prompt", "/api/embed": "input"}


@dataclass(slots=True, kw_only=True, eq=False)
class Recorded:
    """One request; times are of `time.monotonic()`.

    The waiting methods block the thread: an async test calls them through `asyncio.to_thread`.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str]  # looked up in any case
    body: bytes = b""
    json: Any = None  # None when the body is not JSON
    received_at: float = field(default_factory=time.monotonic)
    status: int | None = None  # None until headers are sent
    pieces_sent: int = 0
    counts: tuple[int, int] = (0, 0)  # tokens read and written, if the answer came to its end
    told_counts: bool = False  # it did, and the client was told
    finished_at: float | None = None  # the reply was sent to its scripted end, faults included
    disconnected: bool = False  # the client went away before that
    disconnected_at: float | None = None
    _closed: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def idle(self) -> bool:
        """Tell whether it only has a model loaded or unloaded, as Ollama understands one without content."""
        content = _CONTENT.get(self.path)
        return content is not None and isinstance(self.json, dict) and not self.json.get(content)

    @property
    def used(self) -> tuple[int, int]:
        """The tokens that were read and written; of an answer that was cut short each piece sent is one."""
        if self.told_counts:
            return self.counts
        return (self.counts[0], self.pieces_sent) if self.pieces_sent and self.counts[0] else (0, 0)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def wait_closed(self, timeout: float = 20.0) -> bool:
        """Wait until the exchange is over, whoever ended it."""
        return self._closed.wait(timeout)

    def wait_disconnected(self, timeout: float = 20.0) -> bool:
        """Wait until the exchange is over, and tell whether the client broke it off."""
        return self._closed.wait(timeout) and self.disconnected

    def finish(self, *, disconnected: bool = False) -> None:
        """Note the end of the exchange; only the first end counts."""
        if self.closed:
            return
        if disconnected:
            self.disconnected_at = time.monotonic()
            self.disconnected = True
        else:
            self.finished_at = time.monotonic()
        self._closed.set()
