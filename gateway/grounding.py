"""Grounding: whether an answer is to rest on the knowledge base, on what, and how the model is shown it.

What the client says goes first (its own list of collections takes the place of any other), then the rule that fitted,
then the profile. A client that asked for it gets an error where the knowledge base cannot be searched; where only a
rule or a profile did, the answer goes on without, and says so.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.cited import Citing, Link, cut_object, passage_object
from gateway.condensing import Wording
from gateway.errors import ContentRefused
from gateway.guards.guarding import Guarding
from gateway.guards.passages import retrieved
from gateway.library import Library, search_request
from gateway.withholding import Withheld, withheld_from, without_tools
from knowledge.exceptions import CollectionNotFound
from knowledge.packing import Packed, pack
from knowledge.passages import Retrieval
from routing import features
from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import Catalog, Mode
from routing.decision import Decision
from routing.exceptions import EndpointError
from routing.pool import Pool, shared_pool
from routing.room import Room, room_for, smallest

logger = logging.getLogger(__name__)

MOST_TOKENS = 6_000
"""Tokens of passages at most, however large the window: a model reads them before it says its first word."""
BY_REQUEST, BY_RULE, BY_PROFILE = "request", "rule", "profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """What became of grounding an answer; ``by`` who wanted it: request, rule or profile.

    ``state`` is "grounded", "unavailable" (the knowledge base could not be searched), or "skipped" (``notes`` say
    why). ``cites`` is whether the model was asked for citations, and ``withheld`` the tools it was not given.
    """

    by: str
    collections: tuple[str, ...] = ()
    state: str = "grounded"
    asked: Wording | None = None
    retrieval: Retrieval | None = None
    packed: Packed = field(default_factory=Packed)
    room: Room | None = None
    cites: bool = False
    withheld: Withheld | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_weak(self) -> bool:
        return self.retrieval is not None and self.retrieval.weak

    @property
    def tools(self) -> dict[str, Any]:
        """What is told of tools, where some were withheld."""
        return {"tools": self.withheld.body()} if self.withheld else {}

    @property
    def header(self) -> str:
        """Return the value of X-MoE-Grounding."""
        if self.state != "grounded":
            return self.state
        return f"passages={len(self.packed.sources)}; weak={int(self.is_weak)}; cut={len(self.packed.cut)}"

    @property
    def all_notes(self) -> tuple[str, ...]:
        asked = (self.asked.note,) if self.asked and self.asked.note else ()
        withheld = (self.withheld.note,) if self.withheld else ()
        return (*asked, *(self.retrieval.notes if self.retrieval else ()), *self.notes, *withheld)

    def citing(self, answers: int, link: Link) -> Citing:
        """Return what holds the citations of so many answers against the passages."""
        return Citing(self.packed, answers=answers, cites=self.cites, link=link, told=self.told())

    def told(self) -> dict[str, Any]:
        """Return what the client is told beside the sources."""
        asked, found = self.asked, self.retrieval
        return {
            "state": self.state,
            "by": self.by,
            "collections": list(found.collections if found else self.collections),
            "question": asked.question if asked else None,
            "condensed": asked.condensed if asked else None,
            "condensed_by": (asked.by or None) if asked else None,
            "weak": found.weak if found else None,
            "strength": round(found.strength, 4) if found else None,
            "tokens": self.packed.tokens,
            "budget": self.room.tokens if self.room else None,
            "window": self.room.window if self.room else None,
            "cut": [cut_object(cut) for cut in self.packed.cut],
            "notes": list(self.all_notes),
            "steps": self._steps(),
            **self.tools,
        }

    def _steps(self) -> list[dict[str, Any]]:
        asked, found = self.asked, self.retrieval
        steps = [("question", asked.milliseconds, asked.by or "as it was asked")] if asked else []
        steps += [(step.name, step.milliseconds, step.result) for step in (found.steps if found else ())]
        return [{"step": name, "milliseconds": round(took, 3), "result": result} for name, took, result in steps]

    def trace(self, citing: Citing, *, with_question: bool) -> dict[str, Any]:
        """Return what is kept of it: all that was found, with its places in both rankings."""
        told = self.told() | {"cited": sorted(citing.cited), "invented_citations": citing.invented}
        told["passages"] = [passage_object(passage) for passage in (self.retrieval.passages if self.retrieval else ())]
        told["packed"] = [{"n": source.n, "chunks": list(source.chunks)} for source in self.packed.sources]
        if with_question:
            return told | {"also": list(self.asked.also) if self.asked else []}
        return {name: value for name, value in told.items() if name not in ("question", "condensed")}


# --- whether ----------------------------------------------------------------------------------------------------


def wanted(request: ChatRequest, decision: Decision) -> Grounded | None:
    """Return who wants the answer grounded, and in which collections (none: all that may be read); None: nobody.

    One that is wanted but makes no sense here is "skipped".
    """
    wish = request.grounding
    if wish is not None:
        if not wish.wanted:
            return None
        found = Grounded(by=BY_REQUEST, collections=wish.collections or decision.collections)
    elif decision.collections and not decision.task:
        by = BY_RULE if decision.outcome.collections else BY_PROFILE
        found = Grounded(by=by, collections=decision.collections)
    else:
        return None
    if decision.task:
        return _skipped(found, "This is a chat client's background job, which is not grounded.")
    if request.messages and request.messages[-1].role == "tool":
        return _skipped(found, "The model goes on with what a tool told it; only the question before that is grounded.")
    return found


def evidence_wanted(request: ChatRequest, catalog: Catalog) -> frozenset[str]:
    """Return the collections whose evidence for ``request`` some rule wants to know."""
    if request.model not in catalog.profiles:
        return frozenset()
    rules = [rule for rule in catalog.rules if rule.min_evidence is not None]
    slugs = [
        slug for rule in rules if not rule.profiles or request.model in rule.profiles for slug in rule.evidence_from
    ]
    return frozenset() if not slugs or features.extract(request).task else frozenset(slugs)


def _skipped(found: Grounded, why: str) -> Grounded:
    return replace(found, state="skipped", notes=(*found.notes, why))


# --- how much ---------------------------------------------------------------------------------------------------


async def _room(request: ChatRequest, decision: Decision, pool: Pool) -> Room:
    """Return how much is left for passages: in the smallest window of those who are to answer.

    In a mixture half of it is left alone, for the answers that the aggregator reads beside them.
    """
    plan = decision.plan
    answering = plan.answering if plan else (decision.expert,)
    rooms = [await room_for(request, expert, decision.needs, pool) for expert in answering]
    room = smallest(rooms)
    tokens = room.tokens // 2 if plan and plan.mode is Mode.MIXTURE else room.tokens
    return replace(room, tokens=min(tokens, MOST_TOKENS))


# --- how --------------------------------------------------------------------------------------------------------


def cites(request: ChatRequest) -> bool:
    """Tell whether an answer has room for citations: JSON and a call that must come have not."""
    is_json = request.response_format is not None and request.response_format.kind != "text"
    return not is_json and not request.must_call


def with_passages(messages: tuple[Message, ...], prompt: str) -> tuple[Message, ...]:
    """Return ``messages`` with ``prompt`` in front of the last one of the user.

    There, and not among the system messages, as it holds what others wrote; and so late that what a server remembers
    of the conversation's beginning still holds.
    """
    place = max(place for place, message in enumerate(messages) if message.role == "user")
    message = messages[place]
    opening = Text(text=f"{prompt}\n\nRequest:\n")
    return (*messages[:place], replace(message, parts=(opening, *message.parts)), *messages[place + 1 :])


async def ground(
    request: ChatRequest, decision: Decision, library: Library, guarding: Guarding
) -> tuple[ChatRequest, Grounded | None]:
    """Return ``request`` with passages for its answer to rest on, and what became of that; None: nobody wants it.

    Raises EndpointError where the client asked for it and it cannot be done, ToolsWithheld and ContentRefused.
    """
    found = wanted(request, decision)
    if found is None or found.state == "skipped":
        return request, found
    try:
        request, found = await _ground(request, decision, library, found, guarding)
    except ContentRefused:
        raise
    except Exception as error:
        if found.by == BY_REQUEST:
            if isinstance(error, CollectionNotFound) and error.param:
                error.param = "rag_collections"  # as this request has them, and not one for a search
            raise
        expected = isinstance(error, EndpointError)
        logger.warning("answer goes on ungrounded by=%s error=%s", found.by, error, exc_info=not expected)
        note = error.message if isinstance(error, EndpointError) else "The knowledge base could not be searched."
        return request, replace(found, state="unavailable", notes=(note,))
    if withheld := withheld_from(request, found.packed):
        return without_tools(request, withheld), replace(found, withheld=withheld)
    return request, found


async def _ground(
    request: ChatRequest, decision: Decision, library: Library, found: Grounded, guarding: Guarding
) -> tuple[ChatRequest, Grounded]:
    wish = request.grounding
    if not (wish and wish.collections):
        found = await _readable(found, library)
    asked = await library.wording(request, found.collections)
    if not asked.query:
        return request, _skipped(found, "There is no text to search for in the last message.")
    retrieval = await retrieved(guarding, await library.search(search_request(asked, found.collections, wish)))
    room = await _room(request, decision, shared_pool())
    packed = await asyncio.to_thread(  # up to a tenth of a second for fifty long passages
        pack,
        retrieval,
        budget_tokens=room.tokens,
        count=room.count,
        cites=cites(request),
    )
    if retrieval.passages and not packed.sources:
        note = f"The window of {room.window} tokens has no room left for passages. Shorten the conversation."
        found = replace(found, notes=(*found.notes, note))
    found = replace(found, asked=asked, retrieval=retrieval, packed=packed, room=room, cites=cites(request))
    if packed.prompt:
        request = replace(request, messages=with_passages(request.messages, packed.prompt))
    return request, found


async def _readable(found: Grounded, library: Library) -> Grounded:
    """Return ``found`` without the collections of a rule or profile that are not there or not for this caller.

    Raises CollectionNotFound where none is left: to search all there are instead is not what was decided.
    """
    if not found.collections:
        return found
    shelf = await library.shelf(found.collections)
    missing = [slug for slug in found.collections if slug not in shelf]
    if not missing:
        return found
    note = f"Not there, or not for this API key: {', '.join(missing)}."
    if len(missing) == len(found.collections):
        raise CollectionNotFound(f"No collection that was decided on can be searched. {note}")
    left = tuple(slug for slug in found.collections if slug in shelf)
    return replace(found, collections=left, notes=(*found.notes, note))
