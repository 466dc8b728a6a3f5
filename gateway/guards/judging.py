"""A guard expert: one of our own is asked whether a text is safe, such as a model made for it (Llama Guard)."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from gateway.guards.patterns import Undecided
from gateway.guards.verdicts import Unreadable, Verdict, verdict_of
from routing.backends.protocol import ChatRequest, Delta, Message, Sampling, Text
from routing.catalog import Catalog
from routing.exceptions import EndpointError
from routing.metering import helping
from routing.named import explicit
from routing.pool import Pool

SECONDS = 10.0
TURNS = 6
ANSWER_TOKENS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Who is asked, and how.

    Without ``prompt`` it is given the conversation's last ``turns`` as they are, which is what guard models and their
    templates expect; else one message, in which {text} stands for the last turn and {conversation} for all of them. Of
    its ``categories`` those count that are named here; none: all.
    """

    expert: str
    prompt: str = ""
    form: str = "auto"
    categories: frozenset[str] = frozenset()
    seconds: float = SECONDS
    turns: int = TURNS

    def request(self, messages: Sequence[Message]) -> ChatRequest:
        """Return what the expert is asked about a conversation, whose last turn is what is judged."""
        turns = said(messages)[-self.turns :]
        if self.prompt:
            text = turns[-1].text if turns else ""
            conversation = "\n\n".join(f"{turn.role.capitalize()}: {turn.text}" for turn in turns)
            # In one go, so that what a text holds is never taken for a place of the prompt.
            pieces = [piece.replace("{conversation}", conversation) for piece in self.prompt.split("{text}")]
            turns = [_turn("user", text.join(pieces))]
        return ChatRequest(
            model=self.expert,
            messages=tuple(turns),
            sampling=Sampling(temperature=0, max_tokens=ANSWER_TOKENS),
            think=False,
        )

    def counts(self, verdict: Verdict) -> tuple[str, ...]:
        """Return the categories that count, "unsafe" where the expert names none; () where nothing counts."""
        if not verdict.is_unsafe:
            return ()
        if not verdict.categories:
            return ("unsafe",)
        return tuple(name for name in verdict.categories if not self.categories or name in self.categories)


def said(messages: Sequence[Message]) -> list[Message]:
    """Return the turns that have a text, as a guard model knows them: of a user and of an assistant.

    What a tool told or a program says (a system prompt) is no turn of the assistant's.
    """
    turns = (_turn("assistant" if one.role == "assistant" else "user", one.text) for one in messages)
    return [turn for turn in turns if turn.text.strip()]


def _turn(role: str, text: str) -> Message:
    return Message(role=role, parts=(Text(text=text),))


async def judged(
    judge: Judge, messages: Sequence[Message], *, known: Catalog, pool: Pool, tenant: str, weight: float = 1.0
) -> tuple[str, ...]:
    """Return for what categories the last turn is unsafe, () where it is safe; raises Undecided."""
    request = judge.request(messages)
    if not request.messages:
        return ()
    try:
        async with asyncio.timeout(judge.seconds):
            chat = pool.chat(explicit(request, known), request, tenant=tenant, weight=weight)
            with helping("guard"):
                async with aclosing(chat) as events:
                    answer = "".join([event.content async for event in events if isinstance(event, Delta)])
        return judge.counts(verdict_of(answer, judge.form))
    except TimeoutError:
        raise Undecided(f"{judge.expert} took longer than {judge.seconds:g} s") from None
    except EndpointError as error:
        raise Undecided(f"{judge.expert} could not be asked ({error.code or error.type})") from error
    except Unreadable as error:
        raise Undecided(f"{judge.expert} was asked, and {error}") from error
