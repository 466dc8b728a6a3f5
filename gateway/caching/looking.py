"""One request at the cache: answered from there, or by a model whose answer is kept."""

import contextlib
import datetime as dt
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from django.conf import settings

from gateway import metrics
from gateway.auth import Caller
from gateway.caching.answers import Answers, Away, answers
from gateway.caching.digests import LONGEST_QUESTION, Asked, asked_of, question_of
from gateway.caching.flights import FOLLOWED, Flight, Found, Landing
from gateway.caching.kept import Kept, Recorder
from gateway.caching.purging import Purges
from gateway.caching.questions import EMBEDDER, question_vector
from gateway.caching.wishes import EXACT, SEMANTIC, Wish, wish_of
from gateway.grounding import Grounded
from gateway.models import CachedAnswer
from routing.backends.local import EmbedderUnavailable
from routing.backends.protocol import ChatEvent, ChatRequest, Delta, Finish
from routing.decision import Decision
from routing.features import Asker
from routing.pool import PromptCut
from routing.trial import Attempt

Event = TypeVar("Event")
UNREACHABLE = "bypass (unreachable)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What came of looking, as X-MoE-Cache tells it. ``cached`` is "exact" or "semantic" where the answer follows."""

    told: str
    cached: str = ""


def looking_of(request: ChatRequest, decision: Decision, caller: Caller, asker: Asker) -> "Looking | None":
    """Return what looks for an answer to ``request`` as its client sent it, or None: caching is off for it."""
    wish = wish_of(request, decision, asker.headers, usual=settings.RESPONSE_CACHE)
    return Looking(wish, request, decision, caller, shelf=answers) if wish else None


class Looking:
    """``may_keep`` is asked when an answer is complete; guards that had to do with it say no.

    ``reserve`` is awaited before a model is asked, and not for what is given again: that takes no tokens.
    """

    def __init__(
        self,
        wish: Wish,
        request: ChatRequest,
        decision: Decision,
        caller: Caller,
        *,
        shelf: Answers,
    ) -> None:
        self._wish = wish
        self._asked = request.model
        self._question = question_of(request)[:LONGEST_QUESTION]
        self._decision = decision
        self._caller = caller
        self._shelf = shelf
        self.may_keep: Callable[[], bool] = lambda: True
        self.reserve: Callable[[], Awaitable[None]] | None = None
        self._known = Purges()
        self._vector: list[float] | None = None

    async def answers(
        self, request: ChatRequest, start: Callable[[], AsyncGenerator[Event]], *, grounded: Grounded | None
    ) -> AsyncGenerator[Looked | ChatEvent | Event]:
        """Yield a Looked and the answers' events: those kept, or those of ``start()``.

        ``request`` is as it reaches the model, with rules and passages in it. A similar question never answers one
        with passages: which were found belongs to its words.
        """
        if self._wish.bypass:
            await self._begin()
            metrics.cache.labels(EXACT, "bypass").inc()
            yield Looked(told=f"bypass ({self._wish.bypass})")
            async with aclosing(start()) as events:
                async for event in events:
                    yield event
            return
        asked = asked_of(
            request,
            self._decision,
            key_id=self._caller.key_id,
            profile=self._wish.profile,
            is_grounded=grounded is not None and grounded.state != "skipped",
            code=grounded.packed.code if grounded else "",
        )
        async with aclosing(self._answers(asked, request, start)) as found:
            async for one in found:
                yield one

    async def _answers(
        self, asked: Asked, request: ChatRequest, start: Callable[[], AsyncGenerator[Event]]
    ) -> AsyncGenerator[Looked | ChatEvent | Event]:
        told, flight = "miss", None
        try:
            self._known = await self._shelf.known()
        except Away:
            told = UNREACHABLE  # what was taken back is not known, so that nothing may be given
        else:
            if self._wish.fresh:
                told = "bypass (no-cache)"
            else:
                turn = await self._turn(asked)
                if isinstance(turn, Found):
                    for one in self._again(turn):
                        yield one
                    return
                flight = turn
        async with aclosing(self._led(asked, request, start, told, flight)) as events:
            async for event in events:
                yield event

    async def _turn(self, asked: Asked) -> Found | Flight | None:
        """Return an answer from memory or of a request on its way, or the flight that this request is for others.

        None: it goes by itself, as what it waited for came to an end that is not kept.
        """
        flights = self._shelf.flights
        for _ in range(FOLLOWED):
            if kept := self._shelf.remembered(asked.digest, self._known):
                return Found(kept=kept)
            before = flights.get(asked.digest)
            if before is None:
                return flights.begin(asked.digest)
            landing = await before.landed()
            if landing.found is None:
                if landing.ended:
                    return None
            elif not self._known.cover(landing.found.kept):  # it may have been begun before a purge, and we after it
                return landing.found
        return None

    async def _led(
        self,
        asked: Asked,
        request: ChatRequest,
        start: Callable[[], AsyncGenerator[Event]],
        told: str,
        flight: Flight | None,
    ) -> AsyncGenerator[Looked | ChatEvent | Event]:
        """Yield what is stored or what a model answers, which those hear of who wait for ``flight``."""
        try:
            if flight:
                try:
                    found = await self._stored(asked)
                except Away:
                    found, told = None, UNREACHABLE
                if found:
                    flight.land(Landing(found=found))
                    for one in self._again(found):
                        yield one
                    return
            await self._begin()
            metrics.cache.labels(EXACT, "miss" if told == "miss" else "bypass").inc()
            yield Looked(told=told)
            recorder = Recorder(request.n)
            async with aclosing(start()) as events:
                async for event in events:
                    self._record(recorder, event)
                    yield event
            kept = await self._kept(recorder, asked)
            if flight:
                flight.land(Landing(found=Found(kept=kept) if kept else None, ended=True))
        finally:
            if flight:
                self._shelf.flights.end(asked.digest, flight)

    async def _begin(self) -> None:
        """Make sure that a model may be asked; raises EndpointError."""
        if self.reserve:
            await self.reserve()

    async def _stored(self, asked: Asked) -> Found | None:
        """Return the answer to the same request or to a similar question; raises Away."""
        if kept := await self._shelf.stored(asked.digest, self._known):
            return Found(kept=kept)
        await self._embed(asked)
        if self._vector is None or self._wish.threshold is None:
            return None
        found = await self._shelf.similar(asked, self._vector, self._wish.threshold, self._known)
        if found is None:
            metrics.cache.labels(SEMANTIC, "miss").inc()
        return found

    async def _embed(self, asked: Asked) -> None:
        """Make the question's vector, where similar ones count and it is not there yet."""
        if self._wish.threshold is None or not asked.context or self._vector is not None:
            return
        with contextlib.suppress(EmbedderUnavailable):  # without it only the same question counts
            self._vector = await question_vector(asked.question)

    def _again(self, found: Found) -> "list[Looked | ChatEvent]":
        cached = EXACT if found.similarity is None else SEMANTIC
        told = "hit" if found.similarity is None else f"semantic; similarity={found.similarity:.2f}"
        metrics.cache.labels(cached, "hit").inc()
        self._shelf.count(found.kept)
        return [Looked(told=told, cached=cached), *found.kept.events()]

    # --- keeping ----------------------------------------------------------------------------------------------------

    def _record(self, recorder: Recorder, event: object) -> None:
        if isinstance(event, Delta | Finish):
            recorder.take(event)
        elif isinstance(event, PromptCut):
            recorder.spoil()
        elif isinstance(event, Attempt) and event.expert.slug != self._decision.expert.slug:
            recorder.spoil()  # a fallback; next time the expert itself may answer

    async def _kept(self, recorder: Recorder, asked: Asked) -> Kept | None:
        """Return the answer as it is kept; None where it is not."""
        complete = recorder.said()
        if complete is None or not self.may_keep():
            return None
        said, usage = complete
        await self._embed(asked)
        now = time.time()
        kept = Kept(
            digest=asked.digest,
            key_id=self._caller.key_id,
            profile=self._wish.profile,
            epoch=self._known.epoch,
            created=now,
            expires=now + settings.RESPONSE_CACHE_SECONDS,
            said=said,
            usage=usage,
        )
        self._shelf.keep(kept, self._row(kept, asked))
        return kept

    def _row(self, kept: Kept, asked: Asked) -> CachedAnswer:
        return CachedAnswer(
            digest=kept.digest,
            context=asked.context if self._vector else "",
            key_id=kept.key_id,
            profile=kept.profile,
            asked=self._asked,
            expert=self._decision.expert.slug,
            question=asked.question or self._question,
            embedder=EMBEDDER if self._vector else "",
            vector=self._vector,
            answer=kept.answer(),
            created_at=dt.datetime.fromtimestamp(kept.created, dt.UTC),
            expires_at=dt.datetime.fromtimestamp(kept.expires, dt.UTC),
            epoch=kept.epoch,
        )
