"""What is known of a request when it ends, whichever way it does: the log line and the record it leaves."""

import datetime as dt
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.utils import timezone

from gateway import metrics
from gateway.auth import Caller
from gateway.cited import Citing
from gateway.errors import CLIENT_LEFT, Stopping, translated
from gateway.grounding import Grounded
from gateway.guards.guarding import Guarding
from gateway.limits.claims import Spent, cost_units
from gateway.limits.demand import Demand
from gateway.limits.entry import Reservation
from gateway.telling import log_line, mark_span
from gateway.usage.journal import usage
from gateway.usage.taken import cost_together, records_of, took_together
from gateway.usage.texts import Kept, text_note
from knowledge.models import RetrievalTrace
from knowledge.tracing import traces
from routing.backends.protocol import Usage
from routing.catalog import Replica
from routing.current import is_broken_off
from routing.decision import Decision
from routing.exceptions import EndpointError
from routing.journal import journal
from routing.metering import Meter, begin_metering
from routing.mixture.answering import Answering
from routing.mixture.parts import Parts, together
from routing.models import DecisionRecord
from routing.trial import Attempt

LONGEST_PROMPT = 20_000


@dataclass(slots=True, kw_only=True)
class Account:
    """``what`` is the kind of request; one that has neither a reason nor an error at its end was left by its client.

    ``keeps_decision`` is whether the decision is one that can be looked up later.

    ``answered_by`` is the expert that was asked last, and ``hops`` the attempts before that: a replica's label and the
    code of its error. ``several`` are the answers that several experts make together, where that was decided.
    ``meter`` is what model servers did for it; ``cache`` names the cache that the answer came from instead, ``found``
    is how many passages a search found, and ``kept`` what is kept of its texts, if anybody wants that. ``guarding``
    tells what guards found, ``grounded`` and ``citing`` what the answer rests on, where it was grounded.
    ``reservation`` is what its caller's limits hold for it now, and ``charged`` how many calls were taken from them.
    """

    what: str
    request_id: str
    caller: Caller
    asked: str
    keeps_decision: bool = True
    is_streamed: bool = False
    decision: Decision | None = None
    answered_by: str = ""
    replica: Replica | None = None
    hops: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    meter: Meter = field(default_factory=begin_metering)
    several: list[Answering] = field(default_factory=list)
    cache: str = ""
    found: int = 0
    kept: Kept | None = None
    guarding: Guarding | None = None
    grounded: Grounded | None = None
    citing: Citing | None = None
    error: EndpointError | None = None
    reservation: Reservation | None = None
    charged: int = 0
    first_event: float | None = None
    at: dt.datetime = field(default_factory=timezone.now)
    started: float = field(default_factory=time.monotonic)

    async def reserve(self, demand: Callable[[], Demand]) -> None:
        """Reserve what the request may take where its caller is limited; raises RateLimited, QuotaSpent, Uncounted.

        What was reserved before, for a call that helped, is settled first.
        """
        if self.reservation:
            self.settle()
        if self.caller.entry:
            self.reservation = await self.caller.entry.reserve(demand(), self.at)

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
    def status(self) -> int:
        """The HTTP status it ended with, CLIENT_LEFT where nobody waited for that."""
        if self.error:
            return self.error.status
        return 200 if self.reason else CLIENT_LEFT

    @property
    def parts(self) -> tuple[Parts, ...]:
        return tuple(replace(one.parts, index=index) for index, one in enumerate(self.several))

    @property
    def passages(self) -> int:
        """How many passages the answer rests on, or were found."""
        return len(self.grounded.packed.sources) if self.grounded else self.found

    @property
    def spent(self) -> Usage:
        """What its answers took of model servers, also where they did not come to their end."""
        return took_together(self.meter.of()).usage

    def close(self) -> None:
        """Tell everybody who wants to know how it ended; called once, whichever way it did."""
        seconds = time.monotonic() - self.started
        if self.error is None and self.reason is None:
            self.error = _unforeseen()
        log_line(self, seconds)
        metrics.count(self, seconds)
        mark_span(self)
        self.settle()
        self.record()
        for record in records_of(self, seconds):
            usage.note(record)
        if self.kept:
            text_note(self, self.kept)

    def settle(self) -> None:
        """Take what model servers did since the last time, with what only helped, from its caller's limits.

        It takes the place of the reservation. Where there is none (a search, an answer that is given again) days and
        months are charged with it.
        """
        if self.caller.entry is None:
            return
        calls = self.meter.calls[self.charged :]
        self.charged += len(calls)
        spent = Spent(tokens=took_together(calls).usage.total_tokens, cost=cost_units(cost_together(calls)))
        reservation, self.reservation = self.reservation, None
        if reservation:
            reservation.settle(spent)
        else:
            self.caller.entry.charge(spent, self.at)

    def record(self) -> None:
        """Hand the decision, and the rules that had their way in it, to the journal."""
        if self.decision is None or not self.keeps_decision:
            return
        if rules := self.decision.outcome.rules:
            journal.rules_hit(rule.id for rule in rules)
        if is_kept(self.decision):
            record = self._record(self.decision)
            journal.note(record, characters=len(record.prompt))
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
            why=decision.explained(quoting=keeps_prompt(decision))
            | {"hops": hops}
            | together(self.parts)
            | withheld
            | (self.guarding.told() if self.guarding else {}),
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


def _unforeseen() -> EndpointError | None:
    """Return why a request ends that neither came to its end nor failed; None: nobody waits for it any more."""
    error = sys.exc_info()[1]  # what goes through the ``finally`` in which the account is closed
    if isinstance(error, Exception):
        return translated(error)
    return Stopping() if is_broken_off() else None


@contextmanager
def accounted(account: Account) -> Iterator[Account]:
    """Close ``account`` whichever way the work inside ends."""
    try:
        yield account
    except EndpointError as error:
        account.error = error
        raise
    finally:
        account.close()


def keeps_prompt(decision: Decision) -> bool:
    return decision.profile is not None and decision.profile.log_prompts


def is_kept(decision: Decision) -> bool:
    """Tell whether a decision is among the share of its profile's that is kept; the same one always is or is not."""
    if decision.profile is None:
        return True
    return zlib.crc32(decision.id.encode()) % 100 < decision.profile.log_share
