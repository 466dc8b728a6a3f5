"""One expert's answer as it comes in, and what became of it."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from routing.backends.protocol import ChatEvent, Delta, Finish, Usage
from routing.catalog import Expert
from routing.exceptions import EndpointError, UpstreamFailed
from routing.mixture.parts import Part, Role, Status
from routing.pool import PromptCut
from routing.trial import Attempt

TOKENS_PRICED = 1_000_000
Event = Attempt | PromptCut | ChatEvent


class Branch:
    """``began`` is when the whole began, by the monotonic clock; ``failure`` is there where there is no answer."""

    def __init__(self, role: Role, expert: Expert, *, began: float) -> None:
        self.role = role
        self.expert = expert
        self.status = Status.RUNNING
        self.failure: EndpointError | None = None
        self.confidence: float | None = None
        self.signal = ""
        self.attempt: Attempt | None = None
        self.prompt_cut: PromptCut | None = None
        self.deltas: list[Delta] = []
        self.finish: Finish | None = None
        self._began = began
        self._started = time.monotonic()
        self._first: float | None = None
        self._ended: float | None = None

    @property
    def has_answered(self) -> bool:
        return self.status in (Status.ANSWERED, Status.CUT)

    @property
    def has_begun(self) -> bool:
        """Whether a piece of it came, so that a client may have seen it."""
        return self._first is not None

    @property
    def text(self) -> str:
        return "".join(delta.content for delta in self.deltas)

    async def through(self, source: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
        """Yield what ``source`` yields, noting it; raises EndpointError, also where the answer has no end."""
        try:
            async with aclosing(source) as events:
                async for event in events:
                    self._note(event)
                    yield event
            if self.finish is None:
                raise UpstreamFailed("The model server ended its answer without an end.")
        except EndpointError as error:
            self.fail(error)
            raise
        finally:
            if self.status is Status.RUNNING:
                self._end(Status.CANCELLED)

    async def collect(self, source: AsyncGenerator[Event]) -> None:
        """Take in the whole of ``source``; what goes wrong, an answer without text too, becomes the failure."""
        try:
            async with aclosing(self.through(source)) as events:
                async for _ in events:
                    pass
        except EndpointError:
            return  # noted
        if not self.text.strip():
            self.fail(empty_answer())

    def fail(self, error: EndpointError) -> None:
        self.failure = error
        self._end(Status.FAILED)

    def give_up(self) -> None:
        """Note that it is waited for no longer; who runs it cancels it."""
        self._end(Status.TOO_SLOW)

    def part(self) -> Part:
        usage = self.finish.usage if self.finish else None
        ended = self._ended or time.monotonic()
        return Part(
            role=self.role,
            expert=self.expert.slug,
            replica=self.attempt.replica.label if self.attempt else "",
            status=self.status,
            error=(self.failure.code or self.failure.type) if self.failure else "",
            confidence=self.confidence,
            signal=self.signal,
            usage=usage,
            cost=priced(usage, self.expert) if usage else None,
            start=self._started - self._began,
            first=None if self._first is None else self._first - self._began,
            seconds=ended - self._started,
        )

    def _note(self, event: Event) -> None:
        if isinstance(event, Attempt):
            self.attempt = event
        elif isinstance(event, PromptCut):
            self.prompt_cut = event
        elif isinstance(event, Finish):
            self.finish = event
            self._end(Status.ANSWERED)
        else:
            self._first = self._first or time.monotonic()
            self.deltas.append(event)

    def _end(self, status: Status) -> None:
        self.status = status
        self._ended = time.monotonic()


def priced(usage: Usage, expert: Expert) -> float:
    """Return what ``usage`` costs, in the currency of the expert's prices."""
    return (usage.prompt_tokens * expert.price_in + usage.completion_tokens * expert.price_out) / TOKENS_PRICED


def empty_answer() -> UpstreamFailed:
    return UpstreamFailed("The model answered nothing. Ask again, or ask another model.", code="empty_answer")
