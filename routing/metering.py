"""What model servers did for a request: each call that was made of one, and what it took.

The pool notes every call in the meter of the request that it is made for, whichever part of that makes it: answers of
several experts at a time, tries that failed, and what helps on the way (a follow-up put into words, the routing
program, vectors of a question). Those are told apart by their purpose; the answer's own have none. A meter belongs to a
context of contextvars, which tasks and threads take over, so that nothing on the way has to hand it on.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from routing.backends.embeddings import Embeddings
from routing.backends.protocol import Delta, Finish, Usage
from routing.catalog import Expert, Replica
from routing.exceptions import EndpointError, UpstreamTimedOut
from routing.tokens import estimate_text

LONGEST_TOKEN = 40
"""Characters: a longer piece of a stream is surely more than one token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Tokens; ``thinking`` is part of ``completion``. ``is_estimated``: no server counted all of them."""

    prompt: int = 0
    completion: int = 0
    thinking: int = 0
    is_estimated: bool = False

    @property
    def usage(self) -> Usage:
        return Usage(prompt_tokens=self.prompt, completion_tokens=self.completion)

    def __add__(self, other: "Took") -> "Took":
        return Took(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            thinking=self.thinking + other.thinking,
            is_estimated=self.is_estimated or other.is_estimated,
        )


NOTHING = Took()


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a replica; ``waited`` and ``load`` are seconds, the others times of the monotonic clock.

    ``began`` is None until the server is asked. ``expects`` tells how many tokens its prompt likely has, and is asked
    only where the server did not say; ``written`` and ``thought`` are the tokens that were received, a piece of a
    stream being one of them.
    """

    expert: Expert
    replica: Replica
    purpose: str = ""
    waited: float = 0.0
    load: float = 0.0
    began: float | None = None
    first: float | None = None
    ended: float | None = None
    expects: Callable[[], int] | None = None
    counted: Usage | None = None
    written: int = 0
    thought: int = 0
    failure: EndpointError | None = None

    def begin(self) -> None:
        """Note that the server is asked now."""
        self.began = time.monotonic()

    def note(self, event: Any) -> None:
        """Take an event of its answer into account."""
        if self.first is None:
            self.first = time.monotonic()
        if isinstance(event, Delta):
            thought = tokens_in(event.reasoning) if event.reasoning else 0
            self.thought += thought
            self.written += thought + (tokens_in(event.content) if event.content else 0)
            for call in event.tool_calls:
                self.written += tokens_in(call.name or "") + tokens_in(call.arguments)
        elif isinstance(event, Finish):
            self.counted = event.usage
        elif isinstance(event, Embeddings):
            self.counted = Usage(prompt_tokens=event.prompt_tokens)

    def end(self, failure: EndpointError | None = None) -> None:
        self.ended, self.failure = time.monotonic(), failure

    @property
    def took(self) -> Took:
        """What it took: by the server's own count, else by what was received of it and the likely length of its prompt.

        A server that never was asked, or that refused before its first piece, read nothing; one that was left while it
        was silent was reading, as far as anybody knows.
        """
        if self.counted and self.counted.total_tokens:
            return Took(
                prompt=self.counted.prompt_tokens,
                completion=self.counted.completion_tokens,
                thinking=self._thinking(self.counted),
            )
        refused = self.failure is not None and not isinstance(self.failure, UpstreamTimedOut)
        if self.began is None or (self.first is None and refused):
            return NOTHING
        return Took(
            prompt=self.expects() if self.expects else 0,
            completion=self.written,
            thinking=self.thought,
            is_estimated=True,
        )

    def _thinking(self, counted: Usage) -> int:
        """Return how many tokens were thinking: as the server says, else by its share of what was received."""
        details = counted.details.get("completion_tokens_details")
        told = details.get("reasoning_tokens") if isinstance(details, dict) else None
        if isinstance(told, int):
            return min(told, counted.completion_tokens)
        return round(counted.completion_tokens * self.thought / self.written) if self.thought else 0


def tokens_in(piece: str) -> int:
    """Return how many tokens a piece of a stream is: one, unless it is longer than any token."""
    if len(piece) <= LONGEST_TOKEN:
        return 1 if piece else 0
    return max(1, int(estimate_text(piece)))


@dataclass(slots=True)
class Meter:
    """The calls that were made for one request, in the order they were made."""

    calls: list[Call] = field(default_factory=list)

    def of(self, purpose: str = "") -> list[Call]:
        return [call for call in self.calls if call.purpose == purpose]


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)
_purpose: ContextVar[str] = ContextVar("purpose of a call", default="")


def begin_metering() -> Meter:
    """Return a new meter, in which this context's calls are noted from now on."""
    meter = Meter()
    _meter.set(meter)
    return meter


def is_metering() -> bool:
    """Tell whether there is a meter in this context: whether a request was begun in it."""
    return _meter.get() is not None


@contextmanager
def helping(purpose: str) -> Iterator[None]:
    """Have the calls made meanwhile noted as help, with their purpose: what they take is no part of the answer."""
    token = _purpose.set(purpose)
    try:
        yield
    finally:
        _purpose.reset(token)


def called(expert: Expert, replica: Replica, *, waited: float = 0.0) -> Call:
    """Return a call that is about to be made, noted in the request's meter if there is a request."""
    call = Call(expert=expert, replica=replica, purpose=_purpose.get(), waited=waited)
    if (meter := _meter.get()) is not None:
        meter.calls.append(call)
    return call
