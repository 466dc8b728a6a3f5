"""Prompts and answers, kept where somebody turned that on: a key, its group, or a collection that an answer rests on.

What a guard masked is masked here too, and images are left out. Headers are no part of it. Responses of keys that keep
texts are stored by gateway/responses/stored.py, in a form that they can be continued from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django.conf import settings

from gateway.auth import Caller
from gateway.chatanswer import usage_object
from gateway.grounding import Grounded
from gateway.guards.texts import hidden
from gateway.models import Exchange
from routing.backends import codec
from routing.backends.openai import message_object
from routing.backends.protocol import Delta, Finish, Message, Text, ToolCall, Usage
from routing.batches import Batches, storable
from routing.sweeping import rows_sweep
from routing.writing import keep_writing

if TYPE_CHECKING:
    from gateway.account import Account

CAPACITY = 10_000
CAPACITY_CHARACTERS = 50_000_000
BATCH = 100


# --- noting -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Answer:
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, ToolCall] = field(default_factory=dict)
    reason: str | None = None

    def body(self) -> dict[str, Any]:
        message = Message(
            role="assistant",
            parts=(Text(text="".join(self.content)),),
            reasoning="".join(self.reasoning),
            tool_calls=tuple(self.calls.values()),
        )
        return {"message": message_object(message), "finish_reason": self.reason}


@dataclass(slots=True, kw_only=True)
class Kept:
    """What is kept of one request while it is answered; ``because`` is whose setting has it kept."""

    because: str
    request: dict[str, Any]
    answers: dict[int, _Answer] = field(default_factory=dict)
    usage: Usage | None = None

    def saw(self, event: Any) -> None:
        """Take in an event of the answer, as its client sees it."""
        if isinstance(event, Delta):
            answer = self.answers.setdefault(event.index, _Answer())
            answer.content.append(event.content)
            answer.reasoning.append(event.reasoning)
            for call in event.tool_calls:
                known = answer.calls.get(call.index) or ToolCall(id="", name="", arguments="")
                answer.calls[call.index] = ToolCall(
                    id=call.id or known.id, name=call.name or known.name, arguments=known.arguments + call.arguments
                )
        elif isinstance(event, Finish):
            self.answers.setdefault(event.index, _Answer()).reason = event.reason
            self.usage = event.usage or self.usage

    def answer(self) -> dict[str, Any]:
        """Return the answer; of several (n, or prompts of a text completion) the first, and all as ``choices``."""
        bodies = [answer.body() for _, answer in sorted(self.answers.items())]
        told: dict[str, Any] = dict(bodies[0]) if bodies else {"message": None, "finish_reason": None}
        told["usage"] = usage_object(self.usage) if self.usage else None
        return told | ({"choices": bodies} if len(bodies) > 1 else {})


def chat_kept(messages: Iterable[Message], *, what: str, caller: Caller, grounded: Grounded | None) -> Kept | None:
    """Return what a chat's text is to be kept in, or None where nobody keeps it."""
    because = _because(caller, grounded)
    if not because or (what == "response" and caller.keeps_texts):
        return None
    return Kept(because=because, request={"messages": [message_object(_without_images(one)) for one in messages]})


def prompts_kept(prompts: Sequence[str], suffix: str | None, *, caller: Caller) -> Kept | None:
    """Return what a text completion's texts are to be kept in, or None where nobody keeps them."""
    if not caller.keeps_texts:
        return None
    return Kept(because=caller.keeps_texts, request={"prompt": list(prompts), "suffix": suffix})


def _because(caller: Caller, grounded: Grounded | None) -> str:
    if caller.keeps_texts:
        return caller.keeps_texts
    if grounded is None or grounded.retrieval is None:
        return ""
    shown = {source.passage.collection for source in grounded.packed.sources}
    return next((f"collection {slug}" for slug in grounded.retrieval.keeping if slug in shown), "")


def _without_images(message: Message) -> Message:
    parts = tuple(part if isinstance(part, Text) else Text(text="[image]") for part in message.parts)
    return replace(message, parts=parts)


def text_note(account: "Account", kept: Kept) -> None:
    """Hand what was asked and answered to the journal."""
    decision = account.decision
    answer = hidden(kept.answer(), account.guarding.restored if account.guarding else {})
    row = Exchange(
        id=decision.id if decision else account.request_id,
        created_at=account.at,
        what=account.what,
        key_id=account.caller.key_id,
        request_id=account.request_id,
        decision=decision.id if decision else "",
        asked=account.asked,
        expert=account.answered_by,
        because=kept.because[:120],
        request=kept.request,
        answer=answer,
    )
    texts.note(row, characters=len(codec.dumps(kept.request)) + len(codec.dumps(answer)))


# --- writing ----------------------------------------------------------------------------------------------------


class Texts(Batches[Exchange]):
    """Texts that wait to be written; those of a key that was deleted meanwhile are not."""

    def __init__(self) -> None:
        super().__init__("texts", capacity=CAPACITY, characters=CAPACITY_CHARACTERS, batch=BATCH)

    def _insert(self, records: Sequence[Exchange]) -> None:
        Exchange.objects.bulk_create([storable(one) for one in records], ignore_conflicts=True)

    def _is_written(self, record: Exchange) -> bool:
        return Exchange.objects.filter(pk=record.pk).exists()


texts = Texts()


def texts_flush() -> int:
    """Write what was noted and return how many; raises django.db.Error, and keeps what was not written."""
    return texts.flush()


def texts_sweep() -> int:
    """Delete some of the texts that are older than they are kept, and return how many."""
    return rows_sweep(Exchange, days=settings.TEXT_RETENTION_DAYS)


async def write_texts() -> None:
    """Write what waits each second, for ever, and hourly delete what is too old; survives outages."""
    await keep_writing("texts", waiting=lambda: len(texts), flush=lambda: texts_flush(), sweep=lambda: texts_sweep())
