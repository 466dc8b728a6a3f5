"""What is answered, held to the guards of a request, event by event.

Answers are looked at before citations are put into them, and after a cache: what is given again is looked at again.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.guards.answers import Answer, Measures
from gateway.guards.findings import Action, Place, Span, Told
from gateway.guards.guard import Guard
from gateway.guards.guarding import Guarding, worst
from gateway.guards.judging import Judge
from gateway.guards.masks import plain
from gateway.guards.patterns import Patterns
from gateway.guards.scanning import Masker, Replace
from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish, Message, Text

if TYPE_CHECKING:
    from gateway.account import Account

CONTENT_FILTER = "content_filter"
"""OpenAI's finish reason of an answer that was ended."""


def given(
    guarding: Guarding,
    events: AsyncGenerator[Any],
    account: "Account",
    request: ChatRequest,
    *,
    answers: int,
) -> AsyncGenerator[Any]:
    """Return ``events``, of so many answers, as a client may be shown them; the very same where no guard is to look.

    Whoever opens what this returns closes it, and with it ``events``.
    """
    at, restoring = guarding.at(Place.OUTPUT), guarding.restoring()
    if not at and restoring is None and not guarding.has_found:
        return events
    outgoing = _Outgoing(guarding, _measures(guarding, at, restoring, request), answers, request.stream)
    return outgoing.run(events, account)


def _measures(guarding: Guarding, at: tuple[Guard, ...], restoring: Masker | None, request: ChatRequest) -> Measures:
    judges = any(guard.refuses and isinstance(guard.work, Judge) for guard in at)
    maskers = (
        Masker(patterns=guard.work, replace=_unnumbered(guarding, guard))
        for guard in at
        if guard.action is Action.MASK and isinstance(guard.work, Patterns)
    )
    return Measures(
        guards=at,
        maskers=tuple(maskers),
        restoring=restoring,
        # What does not stream is refused as a whole.
        holds=judges or (not request.stream and any(guard.refuses for guard in at)),
        is_json=request.response_format is not None and request.response_format.kind != "text",
        tell=lambda guard, category: guarding.tell(guard, Place.OUTPUT, category),
        trouble=lambda guard, error: guarding.note(guard, Place.OUTPUT, error),
    )


def _unnumbered(guarding: Guarding, guard: Guard) -> Replace:
    def replaced(span: Span, text: str) -> str:
        guarding.tell(guard, Place.OUTPUT, span.category)
        return plain(span, text)

    return replaced


class _Outgoing:
    def __init__(self, guarding: Guarding, measures: Measures, count: int, stream: bool) -> None:
        self._guarding = guarding
        self._measures = measures
        self._count = count
        self._stream = stream
        self._answers: dict[int, Answer] = {}

    async def run(self, events: AsyncGenerator[Any], account: "Account") -> AsyncGenerator[Any]:
        routed: Told | None = None
        stopped: Answer | None = None
        try:
            async with aclosing(events) as source:
                async for event in source:
                    if isinstance(event, Told):
                        event = routed = self._retold(event)
                    for shown in await self._shown(event):
                        if isinstance(shown, Finish) and routed and not self._stream:
                            yield self._retold(routed)
                        yield shown
                    stopped = self._stopped
                    if stopped:
                        break  # nobody hears the rest: the model need not say it
            if stopped:
                if routed and not self._stream:
                    yield self._retold(routed)
                usage = account.spent  # about: the server was not let count
                for shown in _refusal(stopped, Finish(index=stopped.index, reason=CONTENT_FILTER, usage=usage)):
                    yield shown
        finally:
            if any(answer.refused and answer.has_ended for answer in self._answers.values()):
                account.reason = CONTENT_FILTER

    def _retold(self, routed: Told) -> Told:
        """Return who was asked with what was found since: headers that have not gone out can still tell it."""
        return replace(routed, guards=self._guarding.found, restored=self._guarding.restored)

    @property
    def _stopped(self) -> Answer | None:
        """The one answer there is, where it was refused before its end."""
        if self._count != 1:
            return None
        return next((answer for answer in self._answers.values() if answer.refused and not answer.has_ended), None)

    async def _shown(self, event: Any) -> list[Any]:
        """Return what a client is shown of an event."""
        if not isinstance(event, Delta | Finish):
            return [event]
        answer = self._answers.get(event.index)
        if answer is None:
            answer = self._answers[event.index] = Answer(self._measures, event.index)
        return list(answer.take(event)) if isinstance(event, Delta) else await self._ended(answer, event)

    async def _ended(self, answer: Answer, finish: Finish) -> list[ChatEvent]:
        rest = answer.finish()
        if not answer.refused:
            objection = worst(await self._judged(answer))
            if objection and objection[0].refuses:
                answer.refused = objection[0]
            else:
                rest += answer.release()
        if answer.refused:
            return [*rest, *_refusal(answer, replace(finish, reason=CONTENT_FILTER))]
        adjusted = (*finish.adjusted, "logprobs") if answer.lost_logprobs else finish.adjusted
        answer.has_ended = True
        return [*rest, replace(finish, adjusted=adjusted)]

    async def _judged(self, answer: Answer) -> list[tuple[Guard, tuple[str, ...]]]:
        said = Message(role="assistant", parts=(Text(text=answer.text),))
        if not answer.text.strip():
            return []
        turns = (*self._guarding.conversation(answer.index), said)
        return await self._guarding.judged(self._measures.guards, turns, Place.OUTPUT)


def _refusal(answer: Answer, finish: Finish) -> list[ChatEvent]:
    """Return the words in the place of an answer or of the rest of one, and its end."""
    assert answer.refused is not None
    answer.has_ended = True
    words = answer.refused.refusal
    if not words:
        return [finish]
    return [Delta(index=answer.index, content=f"\n\n{words}" if answer.has_spoken else words), finish]
