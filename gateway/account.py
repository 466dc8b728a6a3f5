"""What is known of a request when it ends, whichever way it does: the log line and the record it leaves."""

import datetime as dt
import logging
import time
import zlib
from dataclasses import dataclass, field, replace

from django.utils import timezone

from gateway.auth import Caller
from gateway.cited import Citing
from gateway.grounding import Grounded
from knowledge.models import RetrievalTrace
from knowledge.tracing import traces
from routing.backends.protocol import Usage
from routing.catalog import Replica
from routing.decision import Decision
from routing.exceptions import EndpointError
from routing.journal import journal
from routing.mixture.answering import Answering
from routing.mixture.parts import Parts, together
from routing.models import DecisionRecord
from routing.pool import Attempt

logger = logging.getLogger(__name__)

LONGEST_PROMPT = 20_000


@dataclass(slots=True, kw_only=True)
class Account:
    """``what`` is the kind of request; a request that has neither a reason nor an error was cancelled.

    ``keeps_decision`` is whether the decision is one that can be looked up later.

    ``answered_by`` is the expert that was asked last, and ``hops`` the attempts before that: a replica's label and the
    code of its error. ``several`` are the answers that several experts make together, where that was decided.
    ``grounded`` and ``citing`` tell what the answer rests on, where it was grounded.
    """

    what: str
    request_id: str
    caller: Caller
    asked: str
    keeps_decision: bool = True
    decision: Decision | None = None
    answered_by: str = ""
    replica: Replica | None = None
    hops: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    several: list[Answering] = field(default_factory=list)
    grounded: Grounded | None = None
    citing: Citing | None = None
    error: EndpointError | None = None
    first_event: float | None = None
    at: dt.datetime = field(default_factory=timezone.now)
    started: float = field(default_factory=time.monotonic)

    def tried(self, attempt: Attempt) -> None:
        """Note who is asked now."""
        self.answered_by, self.replica = attempt.expert.slug, attempt.replica
        self.hops = attempt.failed or self.hops

    def saw(self) -> None:
        """Note that a piece of the answer came."""
        if self.first_event is None:
            self.first_event = time.monotonic() - self.started

    @property
    def outcome(self) -> str:
        if self.error:
            return self.error.code or self.error.type
        return self.reason or "cancelled"

    @property
    def parts(self) -> tuple[Parts, ...]:
        return tuple(replace(one.parts, index=index) for index, one in enumerate(self.several))

    @property
    def spent(self) -> Usage:
        """What all of it took, also where the answer did not come to its end."""
        if not self.several:
            return self.usage
        counted = (parts.usage for parts in self.parts)
        return sum((usage for usage in counted if usage), Usage())

    def close(self) -> None:
        """Tell everybody who wants to know how it ended; called once, whichever way it did."""
        self.log()
        self.record()

    def log(self) -> None:
        spent = self.spent
        logger.info(
            "%s request_id=%s key=%s asked=%s expert=%s route=%s replica=%s outcome=%s prompt_tokens=%s "
            "completion_tokens=%s first_ms=%s latency_ms=%.0f",
            self.what,
            self.request_id,
            self.caller.prefix or "-",
            self.asked,
            self.decision.expert.slug if self.decision else "-",
            self.decision.route if self.decision else "-",
            self.replica.label if self.replica else "-",
            self.outcome,
            spent.prompt_tokens,
            spent.completion_tokens,
            "-" if self.first_event is None else f"{self.first_event * 1000:.0f}",
            (time.monotonic() - self.started) * 1000,
        )

    def record(self) -> None:
        """Hand the decision, and the rules that had their way in it, to the journal."""
        if self.decision is None or not self.keeps_decision:
            return
        if rules := self.decision.outcome.rules:
            journal.rules_hit(rule.id for rule in rules)
        if is_kept(self.decision):
            journal.note(self._record(self.decision))
            if self.grounded and self.citing:
                traces.note(self._trace(self.decision, self.grounded, self.citing))

    def _record(self, decision: Decision) -> DecisionRecord:
        other = self.answered_by not in ("", decision.expert.slug)
        withheld = self.grounded.tools if self.grounded else {}
        hops = [{"replica": label, "error": code} for label, code in self.hops]
        return DecisionRecord(
            id=decision.id,
            created_at=self.at,
            asked=self.asked,
            expert=decision.expert.slug,
            answered_by=self.answered_by if other else "",
            replica=self.replica.label if self.replica else "",
            route=decision.route,
            confidence=decision.confidence,
            language=decision.language,
            key_name=self.caller.name,
            key_id=self.caller.key_id,
            request_id=self.request_id,
            outcome=self.outcome,
            milliseconds=decision.milliseconds,
            why=decision.explained(quoting=keeps_prompt(decision)) | {"hops": hops} | together(self.parts) | withheld,
            prompt=decision.text[:LONGEST_PROMPT] if keeps_prompt(decision) else "",
        )

    def _trace(self, decision: Decision, grounded: Grounded, citing: Citing) -> RetrievalTrace:
        found, asked = grounded.retrieval, grounded.asked
        return RetrievalTrace(
            decision=decision.id,
            question=asked.question[:LONGEST_PROMPT] if asked and keeps_prompt(decision) else "",
            collections=list(found.collections if found else grounded.collections),
            strength=found.strength if found else None,
            weak=found.weak if found else False,
            trace=grounded.trace(citing, with_question=keeps_prompt(decision)),
            created_at=self.at,
        )


def keeps_prompt(decision: Decision) -> bool:
    return decision.profile is not None and decision.profile.log_prompts


def is_kept(decision: Decision) -> bool:
    """Tell whether a decision is among the share of its profile's that is kept; the same one always is or is not."""
    if decision.profile is None:
        return True
    return zlib.crc32(decision.id.encode()) % 100 < decision.profile.log_share
