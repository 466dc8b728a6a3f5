"""The door for what people say of decisions: thumbs, and who should have answered."""

import asyncio
import re
import time
from dataclasses import dataclass, replace

from channels.db import database_sync_to_async
from django.conf import settings

from gateway.account import LONGEST_PROMPT
from gateway.auth import Caller
from gateway.doors import Door
from gateway.errors import NotFound
from gateway.fields import Fields, invalid, json_object, unsupported
from gateway.guards.findings import header_of
from gateway.guards.guarding import guarding_for
from gateway.policy import Scope
from gateway.ragapi.serializers import checked_text
from routing.catalog import catalog
from routing.journal import records_flush
from routing.learning.feedback import feedback_give
from routing.models import DecisionRecord, Expert, Feedback

LONGEST_COMMENT = 4_000
# The journal of another process is written each second.
WAIT_SECONDS, LOOK_AGAIN_SECONDS = 2.0, 0.25
_ID = re.compile(r"dec_[0-9a-f]{32}")
_KNOWN = ("decision", "rating", "expert", "comment", "prompt")


class DecisionNotFound(NotFound):
    code = "decision_not_found"

    def __init__(self, decision: str) -> None:
        days = settings.DECISION_RETENTION_DAYS
        older = f", be older than {days} days" if days > 0 else ""
        super().__init__(
            f"There is no decision '{decision}' that was made with this API key. Its answer may not be complete yet; "
            f"or it may not have been kept (a profile keeps a share of its decisions){older}, or be of another key. "
            "The id is in the header X-MoE-Decision of each answer.",
            param="decision",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a client says: ``rating`` is -1, 0 or 1, ``expert`` a slug, ``prompt`` what may be learnt from."""

    decision: str
    rating: int
    expert: str | None = None
    comment: str = ""
    prompt: str = ""


class FeedbackDoor(Door):
    """POST /v1/feedback"""

    needs = Scope.CHAT

    async def handle(self, body: bytes) -> None:
        caller = await self.caller()
        said = parse_feedback(body)
        record = await decision_found(said.decision, caller)
        said = await self._guarded(said, record, caller)
        row = await database_sync_to_async(_kept, thread_sensitive=False)(said, record, caller)
        await self.send_json(_object(row))

    async def _guarded(self, said: Said, record: DecisionRecord, caller: Caller) -> Said:
        """Return what is said as it may be kept and learnt from; raises ContentRefused."""
        guarding = await guarding_for(record.asked, caller)
        prompt, comment = await guarding.texts((said.prompt, said.comment), param="prompt")
        if guarding.found:
            self.extra_headers["X-MoE-Guards"] = header_of(guarding.found)
        return replace(said, prompt=prompt, comment=comment)


def parse_feedback(body: bytes) -> Said:
    """Read a request; raises BadRequest."""
    fields = Fields(json_object(body))
    decision = fields.text("decision")
    rating = fields.number("rating", -1, 1)
    expert = fields.text("expert")
    comment, prompt = fields.text("comment") or "", fields.text("prompt") or ""
    if unknown := fields.unseen():
        raise unsupported(unknown[0], f"There is no field '{unknown[0]}' here. There are: {', '.join(_KNOWN)}.")
    if not decision:
        raise invalid("decision", "'decision' must be the id of a decision, from the header X-MoE-Decision.")
    if rating is None:
        raise invalid("rating", "'rating' must be a number from -1 (bad) to 1 (good); 0 says neither.")
    return Said(
        decision=decision,
        rating=(rating > 0) - (rating < 0),
        expert=checked_text(expert, "expert", 300) if expert else None,
        comment=checked_text(comment, "comment", LONGEST_COMMENT),
        prompt=checked_text(prompt, "prompt", LONGEST_PROMPT),
    )


async def decision_found(decision: str, caller: Caller) -> DecisionRecord:
    """Return the record of a decision made for ``caller``, waiting until it is written; raises DecisionNotFound."""
    if not _ID.fullmatch(decision):
        raise DecisionNotFound(decision[:100])
    if (record := await _look(decision, caller)) is not None:
        return record
    # The answer came a moment ago: its record waits in this process's journal, or in another's.
    await database_sync_to_async(records_flush, thread_sensitive=False)()
    until = time.monotonic() + WAIT_SECONDS
    while (record := await _look(decision, caller)) is None:
        if time.monotonic() >= until:
            raise DecisionNotFound(decision)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return record


async def _look(decision: str, caller: Caller) -> DecisionRecord | None:
    # Nobody learns whether a decision of somebody else's exists. Names of keys need not be unique.
    found = DecisionRecord.objects.filter(pk=decision, key_id=caller.key_id).defer("why")
    record: DecisionRecord | None = await database_sync_to_async(found.first, thread_sensitive=False)()
    return record


def _kept(said: Said, record: DecisionRecord, caller: Caller) -> Feedback:
    expert = None
    if said.expert is not None:
        rows = Expert.objects.filter(enabled=True)
        experts = {row.slug: row for row in rows if _may_name(row.slug, record, caller)}
        expert = experts.get(said.expert)
        if expert is None:
            raise invalid("expert", f"There is no expert '{said.expert}'. There are: {', '.join(experts)}.")
    return feedback_give(
        record=record,
        source=Feedback.Source.API,
        rating=said.rating,
        expert=expert,
        comment=said.comment,
        prompt=said.prompt,
        key_name=caller.name,
    )


def _may_name(expert: str, record: DecisionRecord, caller: Caller) -> bool:
    """Tell whether an expert exists for the caller: it may be asked for, or whom was asked may choose it."""
    profile = catalog.get().profiles.get(record.asked)
    if profile and (not profile.experts or expert in profile.experts):
        return True
    return caller.may_ask(expert)


def _object(row: Feedback) -> dict[str, object]:
    return {
        "object": "feedback",
        "id": f"fb_{row.pk}",
        "decision": row.decision,
        "rating": row.rating,
        "answered_by": row.was,
        "expert": row.expert.slug if row.expert else None,
        "comment": row.comment or None,
        "learnable": row.is_learnable,
    }
