"""One request held to its guards: what they found so far, and what the client sends.

All guards of a place look at the same text. A finding for which a request is refused ends it at once; else what is to
be masked is masked before anything else sees it: rules, search, models, caches, records. Where no guard is set up,
nothing is done but to count characters. What is retrieved is in passages.py, what is answered in outgoing.py.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.conf import settings

from gateway import metrics
from gateway.auth import Caller
from gateway.errors import ContentRefused
from gateway.guards.findings import Action, Found, Place, Span, Tally, header_of
from gateway.guards.guard import Guard, Size, too_long
from gateway.guards.judging import Judge, judged
from gateway.guards.live import guards
from gateway.guards.masks import Masks
from gateway.guards.patterns import Patterns, Undecided
from gateway.guards.scanning import Masker, Refuser, Replace, Scanner
from gateway.guards.spoken import Spoken
from gateway.guards.texts import Rewrite, rewritten, texts_of
from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import catalog
from routing.pool import shared_pool
from routing.tokens import estimate, estimate_text

logger = logging.getLogger(__name__)

LONG = 20_000
"""Characters from which a text is looked through in a thread: it takes milliseconds."""
SIZE = "size"
NOT_JUDGED = "not judged"
Result = TypeVar("Result")
Objection = tuple[Guard, tuple[str, ...]]
"""A guard that has something against a text, and the categories of it."""


async def guarding_for(model: str, caller: Caller) -> "Guarding":
    """Return what holds a request for ``model`` to its guards."""
    return Guarding((await guards.aget()).for_model(model), caller)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What is guarded, and what it is called to the client."""

    place: Place
    param: str
    what: str = "The request"


class Guarding:
    """The guards of one request. It goes through them in two steps: by itself, and past experts that judge it.

    ``masked`` are the texts that were masked in the messages of a chat, with their masks.
    """

    __slots__ = ("_caller", "_conversations", "_guards", "_masks", "_tally", "masked")

    def __init__(self, guards: tuple[Guard, ...], caller: Caller) -> None:
        self._guards = guards
        self._caller = caller
        self._tally: Tally | None = None
        self._masks: Masks | None = None
        self._conversations: tuple[tuple[Message, ...], ...] = ((),)
        self.masked: Mapping[str, str] = {}

    def conversation(self, index: int) -> tuple[Message, ...]:
        """Return what the answer of this number is an answer to, as a model may be shown it."""
        return self._conversations[min(index, len(self._conversations) - 1)]

    def at(self, place: Place) -> tuple[Guard, ...]:
        return tuple(guard for guard in self._guards if place in guard.places) if self._guards else ()

    @property
    def asks_experts(self) -> bool:
        """Whether experts judge what comes in or goes out, which takes tokens of theirs."""
        return any(isinstance(guard.work, Judge) for guard in self._guards)

    # --- what is found ----------------------------------------------------------------------------------------------

    @property
    def has_found(self) -> bool:
        return self._tally is not None

    @property
    def found(self) -> tuple[Found, ...]:
        return self._tally.found() if self._tally else ()

    def told(self) -> dict[str, Any]:
        """Return what a decision says of it."""
        return {"guards": [one.body() for one in self.found]} if self._tally else {}

    def tell(self, guard: Guard, place: Place, category: str) -> None:
        """Take note of a finding."""
        self._count(guard.name, guard.check, place, guard.action, category)

    def note(self, guard: Guard, place: Place, error: Undecided) -> None:
        """Take note that a check could not tell."""
        logger.warning("a guard could not tell name=%s place=%s error=%s", guard.name, place, error)
        self._tally = self._tally or Tally()
        self._tally.note(name=guard.name, check=guard.check, place=place, action=guard.action, note=str(error))

    def _count(self, name: str, check: str, place: Place, action: Action, category: str) -> None:
        self._tally = self._tally or Tally()
        self._tally.add(name=name, check=check, place=place, action=action, category=category)
        metrics.guard_findings.labels(name, str(place), action.done).inc()

    def refusal(self, occasion: Occasion, name: str, why: str) -> ContentRefused:
        """Return the error for which the request ends."""
        logger.info("a guard refuses name=%s place=%s", name, occasion.place)
        return ContentRefused(
            f"{occasion.what} was refused by the guard “{name}”: {why}. Change it and send it again, or ask an "
            "administrator.",
            param=occasion.param,
            guards=header_of(self.found),
        )

    # --- what comes in ----------------------------------------------------------------------------------------------

    async def chat(self, request: ChatRequest) -> ChatRequest:
        """Return ``request`` as a model may be shown it; raises ContentRefused."""
        occasion = Occasion(place=Place.INPUT, param="messages")
        self._conversations = (request.messages,)
        characters = sum(map(len, texts_of(request.messages)))
        at = self.at(Place.INPUT)
        self._hold_to_size(occasion, at, characters, lambda: estimate(request.messages, request.tools))
        if not at:
            return request
        rewrite = self.rewriter(occasion, at, texts_of(request.messages))
        messages = await aside(characters, lambda: rewritten(request.messages, rewrite))
        self.masked = self._masks.masked if self._masks else {}
        self._conversations = (messages,)
        self._listen(occasion, at, next((turn.text for turn in reversed(messages) if turn.role == "user"), ""))
        return replace(request, messages=messages)

    async def texts(self, texts: Sequence[str], *, param: str) -> tuple[str, ...]:
        """Return prompts, or texts to embed, as a model may be shown them; raises ContentRefused."""
        occasion = Occasion(place=Place.INPUT, param=param)
        characters = sum(map(len, texts))
        at = self.at(Place.INPUT)
        self._hold_to_size(occasion, at, characters, lambda: sum(map(estimate_text, texts)))
        if not at:
            return tuple(texts)
        rewrite = self.rewriter(occasion, at, texts)
        shown = await aside(characters, lambda: tuple(map(rewrite, texts)))
        for text in dict.fromkeys(shown):
            self._listen(occasion, at, text)
        self._conversations = tuple((as_turn(text),) for text in shown)
        return shown

    def _hold_to_size(
        self, occasion: Occasion, at: tuple[Guard, ...], characters: int, tokens: Callable[[], float]
    ) -> None:
        most = settings.INPUT_CHARACTERS_MOST
        if most and characters > most:
            self._count(SIZE, SIZE, Place.INPUT, Action.REFUSE, "characters")
            raise self.refusal(occasion, SIZE, too_long("characters", characters, most))
        for guard in at:
            if isinstance(guard.work, Size) and (beyond := guard.work.beyond(characters, tokens)):
                self.tell(guard, Place.INPUT, beyond[0])
                if guard.refuses:
                    raise self.refusal(occasion, guard.name, beyond[1])

    def _listen(self, occasion: Occasion, at: tuple[Guard, ...], text: str) -> None:
        for guard in at:
            if isinstance(guard.work, Spoken) and (found := guard.work.asked(text)):
                self.tell(guard, Place.INPUT, found[0])
                if guard.refuses:
                    permitted = ", ".join(sorted(guard.work.permitted))
                    raise self.refusal(occasion, guard.name, f"it is in “{found[0]}”, and permitted are: {permitted}")

    # --- experts that judge -----------------------------------------------------------------------------------------

    async def judge(self, *, param: str) -> None:
        """Have experts judge what came in; raises ContentRefused.

        It takes them seconds, so it comes after what costs less, limits of the caller's among it.
        """
        occasion, at = Occasion(place=Place.INPUT, param=param), self.at(Place.INPUT)
        asked = {tuple(turn.text for turn in one): one for one in self._conversations} if at else {}
        for messages in asked.values():
            objection = worst(await self.judged(at, messages, Place.INPUT))
            if objection and objection[0].refuses:
                guard, categories = objection
                why = "it could not be judged" if NOT_JUDGED in categories else f"it was judged {', '.join(categories)}"
                raise self.refusal(occasion, guard.name, why)

    async def judged(self, at: tuple[Guard, ...], messages: Sequence[Message], place: Place) -> list[Objection]:
        """Return what experts have against the last turn; one that could not tell has, unless its guard fails open."""
        judges = [(guard, guard.work) for guard in at if isinstance(guard.work, Judge)]
        answers = await asyncio.gather(*(self._verdict(guard, work, messages, place) for guard, work in judges))
        return [(guard, found) for (guard, _), found in zip(judges, answers, strict=True) if found]

    async def _verdict(self, guard: Guard, judge: Judge, messages: Sequence[Message], place: Place) -> tuple[str, ...]:
        known, pool, caller = await catalog.aget(), shared_pool(), self._caller
        try:
            found = await judged(judge, messages, known=known, pool=pool, tenant=caller.tenant, weight=caller.weight)
        except Undecided as error:
            self.note(guard, place, error)
            return () if guard.fails_open else (NOT_JUDGED,)
        for category in found:
            self.tell(guard, place, category)
        return found

    # --- texts ------------------------------------------------------------------------------------------------------

    def rewriter(self, occasion: Occasion, at: tuple[Guard, ...], texts: Iterable[str] = ()) -> Rewrite:
        """Return what masks a text, and raises ContentRefused for one that must not be there.

        No mask is one that stands in ``texts``, which are all of them.
        """
        pointing = [(guard, guard.work) for guard in at if isinstance(guard.work, Patterns)]
        if not pointing:
            return lambda text: text
        maskers = [
            Masker(patterns=work, replace=self._numbered(guard, occasion.place))
            for guard, work in pointing
            if guard.action is Action.MASK
        ]
        if maskers:
            self._masks = self._masks or Masks()
            self._masks.avoid(texts)
        refusers = [
            Refuser(patterns=work, refuse=self._refuser(occasion, guard)) for guard, work in pointing if guard.refuses
        ]
        goes_on = self._going_on(occasion, at)

        def rewrite(text: str) -> str:
            for guard, work in pointing:
                if guard.action is Action.LOG:
                    self._log(guard, work, text, occasion.place)
            return Scanner(maskers, refusers, goes_on=goes_on).finish(text)

        return rewrite

    @property
    def restored(self) -> Mapping[str, str]:
        """The texts that come back in the answer, with their masks."""
        return self._masks.restored if self._masks else {}

    def restoring(self) -> Masker | None:
        """Return what puts back into an answer what was masked in the request, None where nothing is to be."""
        return self._masks.restoring() if self._masks else None

    def _log(self, guard: Guard, work: Patterns, text: str, place: Place) -> None:
        try:
            for span in work.spans(text):
                self.tell(guard, place, span.category)
        except Undecided as error:
            self.note(guard, place, error)

    def _numbered(self, guard: Guard, place: Place) -> Replace:
        def replaced(span: Span, text: str) -> str:
            assert self._masks is not None
            self.tell(guard, place, span.category)
            return self._masks.numbered(span, text, restore=guard.restores and place is Place.INPUT)

        return replaced

    def _refuser(self, occasion: Occasion, guard: Guard) -> Callable[[Span], None]:
        def refuse(span: Span) -> None:
            self.tell(guard, occasion.place, span.category)
            raise self.refusal(occasion, guard.name, f"it holds what must not be in it ({span.category})")

        return refuse

    def _going_on(self, occasion: Occasion, at: tuple[Guard, ...]) -> Callable[[Undecided], bool]:
        def goes_on(error: Undecided) -> bool:
            guard = next(guard for guard in at if guard.name == error.owner)
            self.note(guard, occasion.place, error)
            if guard.fails_open:
                return True
            raise self.refusal(occasion, guard.name, f"it could not be checked, as {error}")

        return goes_on


# --- steps ------------------------------------------------------------------------------------------------------


async def aside(characters: int, work: Callable[[], Result]) -> Result:
    """Return what ``work`` makes of so many characters, in a thread if they are many."""
    return await asyncio.to_thread(work) if characters > LONG else work()


def as_turn(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


def worst(objections: Sequence[Objection]) -> Objection | None:
    """Return the objection that is to be followed: one for which is refused, else one for which is masked."""
    ranks = {Action.REFUSE: 0, Action.MASK: 1, Action.LOG: 2}
    return min(objections, key=lambda one: ranks[one[0].action], default=None)
