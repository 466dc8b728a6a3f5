"""What is searched for when somebody asks: the last message, and for a follow-up what it follows up on.

A small expert may rewrite a follow-up into a question that stands by itself. It has two seconds; without it, when it is
too late, or when the caller's limits do not hold it, the message is searched for together with the one before it.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from gateway.auth import Caller
from gateway.limits.demand import Demand, chat_demand
from routing.backends.protocol import ChatRequest, Delta, Message, Sampling, Text
from routing.catalog import catalog
from routing.classifier.reading import read
from routing.exceptions import EndpointError
from routing.metering import helping
from routing.named import explicit
from routing.pool import shared_pool

logger = logging.getLogger(__name__)

Reserve = Callable[[Callable[[], Demand]], Awaitable[None]]
"""Takes what a call may take from somebody's limits; raises EndpointError where they do not hold it."""

CONDENSE_SECONDS = 2.0
LONGEST_QUESTION = 1_000
"""Characters; of a longer message what is pasted into it is left out, and of what is left the end."""
LONGEST_CONDENSED = 400
TURNS_READ = 6
LONGEST_TURN = 600
CONDENSED_TOKENS = 120
DEMAND = (
    "Rewrite the last message of this conversation as one question that can be understood without the conversation. "
    "Put names in place of words like it, they or there. Keep the language. Write the question only."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What is searched for: ``query``, and ``also`` beside it.

    ``by`` tells how it came about: "" as it was asked, "earlier turn", or the slug of the expert that rewrote it.
    """

    question: str
    query: str
    also: tuple[str, ...] = ()
    by: str = ""
    milliseconds: float = 0.0
    note: str = ""

    @property
    def condensed(self) -> str | None:
        return self.query if self.by and self.query != self.question else None


# --- pure -------------------------------------------------------------------------------------------------------


def question_of(text: str) -> str:
    """Return what of a message is the question: a long one without what is quoted or pasted in it."""
    text = text.replace("\0", " ").strip()
    if len(text) > LONGEST_QUESTION:
        text = read(text).instruction.strip(" …\n") or text
    return text[-LONGEST_QUESTION:]


def as_asked(messages: Sequence[Message], *, condense: bool) -> Wording:
    """Return what is searched for without anybody's help: a follow-up with the question before it."""
    asked = [question for message in messages if message.role == "user" and (question := question_of(message.text))]
    last = asked[-1] if asked else ""
    if not messages or not last or question_of(_last_user(messages)) != last:
        return Wording(question="", query="")
    if len(asked) == 1 or not condense:
        return Wording(question=last, query=last)
    return Wording(question=last, query=last, also=(f"{asked[-2]}\n{last}"[-LONGEST_QUESTION:],), by="earlier turn")


def _last_user(messages: Sequence[Message]) -> str:
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


def demand(messages: Sequence[Message], expert: str) -> ChatRequest:
    """Return the request that has ``expert`` rewrite the last message."""
    turns = [message for message in messages if message.role in ("user", "assistant") and message.text.strip()]
    lines = (f"{message.role.capitalize()}: {message.text.strip()[:LONGEST_TURN]}" for message in turns[-TURNS_READ:])
    text = "\n".join((DEMAND, "", *lines))
    return ChatRequest(
        model=expert,
        messages=(Message(role="user", parts=(Text(text=text),)),),
        sampling=Sampling(temperature=0, max_tokens=CONDENSED_TOKENS),
        think=False,
    )


def cleaned(answer: str) -> str:
    """Return the question in a model's answer: its first line, without a label or quotation marks; "" if none."""
    line = next((line.strip() for line in answer.splitlines() if line.strip()), "")
    line = re.sub(r"^(?:(?:rewritten |standalone )?question|user|last message)\s*:\s*", "", line, flags=re.IGNORECASE)
    line = line.strip("\"'“”„«»` ")
    return line if len(line) <= LONGEST_CONDENSED else ""


# --- asking -----------------------------------------------------------------------------------------------------


async def unlimited(demand: Callable[[], Demand]) -> None:
    """Reserve nothing."""


async def wording(
    request: ChatRequest, *, expert: str | None, condense: bool, caller: Caller, reserve: Reserve = unlimited
) -> Wording:
    """Return what is searched for to answer the last message of ``request``; ``expert`` rewrites a follow-up."""
    began = time.perf_counter()
    found = as_asked(request.messages, condense=condense)
    if expert is None or not found.also:
        return replace(found, milliseconds=(time.perf_counter() - began) * 1000)
    try:
        async with asyncio.timeout(CONDENSE_SECONDS):
            rewritten = cleaned(await _answer(demand(request.messages, expert), caller, reserve))
        note = "" if rewritten else f"{expert} did not rewrite the question."
    except TimeoutError:
        rewritten, note = "", f"{expert} took longer than {CONDENSE_SECONDS:g} s to rewrite the question."
    except EndpointError as error:
        rewritten, note = "", f"{expert} could not rewrite the question: {error.message}"
    if rewritten:
        # What was asked is searched for too: a small model may have understood it wrongly.
        found = replace(found, query=rewritten, also=(found.question,), by=expert)
    if note:
        logger.warning("follow-up is searched for as it stands reason=%s", note)
    return replace(found, note=note, milliseconds=(time.perf_counter() - began) * 1000)


async def _answer(request: ChatRequest, caller: Caller, reserve: Reserve) -> str:
    decision = explicit(request, await catalog.aget())
    await reserve(lambda: chat_demand(request, decision, shared_pool().tokens))
    chat = shared_pool().chat(decision, request, tenant=caller.tenant, weight=caller.weight)
    with helping("condensing"):
        async with aclosing(chat) as events:
            return "".join([event.content async for event in events if isinstance(event, Delta)])
