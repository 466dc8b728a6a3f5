"""Proposals: made from corrections, kept up to date while they wait, and decided on by a person."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from routing.classifier.training import TooFewExamples
from routing.exceptions import BadRequest
from routing.learning.changes import Change, change_for, rule_row
from routing.learning.kinds import Kind, kinds_read
from routing.learning.measuring import evaluation_of, settings_now
from routing.models import ClassifierVersion, Feedback, Proposal, RouteExample

logger = logging.getLogger("routing")

PROPOSING_LOCK = 0x6D6F65_21  # any number that nothing else locks
OPEN, ACCEPTED, DISMISSED = Proposal.Status.OPEN, Proposal.Status.ACCEPTED, Proposal.Status.DISMISSED


class AnotherProposes(Exception):
    """Corrections are looked through in another process."""


class NotDecided(BadRequest):
    """A proposal cannot be decided on as it was asked; the message says why and what to do."""

    code = "proposal_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of corrections: proposals made or brought up to date, and a sentence about each kind."""

    proposals: tuple[Proposal, ...]
    messages: tuple[str, ...]


def pending() -> str:
    """Return what tells the work there is from other work, "" where there is none; a few short queries."""
    due = [
        f"{kind.was} {kind.expert.pk} {[one.pk for one in kind.corrections]}" for kind in kinds_read() if kind.is_due
    ]
    due += [f"after {proposal.pk} {version.pk}" for proposal, version in _in_force()]
    return hashlib.sha256("\n".join(due).encode()).hexdigest() if due else ""


# --- making them ------------------------------------------------------------------------------------------------


def changes_propose() -> Outcome:
    """Make proposals of what corrections there are, and measure accepted ones that came into force since.

    Raises AnotherProposes. Takes seconds for a rule, and three trainings of the classifier for examples.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [PROPOSING_LOCK])
        if not cursor.fetchone()[0]:
            raise AnotherProposes("Corrections are being looked through in another process; wait for it.")
        try:
            return _proposed()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [PROPOSING_LOCK])


def _proposed() -> Outcome:
    proposals, messages = [], []
    for kind in kinds_read():
        if not kind.is_due:
            continue
        proposal, message = _kind_propose(kind)
        messages.append(message)
        if proposal is not None:
            proposals.append(proposal)
    for proposal, version in _in_force():
        _after_measure(proposal, version)
        messages.append(f"Measured after proposal {proposal.pk} was accepted: {proposal}.")
    return Outcome(proposals=tuple(proposals), messages=tuple(messages))


def _kind_propose(kind: Kind) -> tuple[Proposal | None, str]:
    corrections = kind.corrections
    if not corrections:
        assert kind.proposal is not None
        message = f"Proposal {kind.proposal.pk} is gone: no correction speaks for it any more."
        Proposal.objects.filter(pk=kind.proposal.pk, status=OPEN).delete()
        return None, message
    change = change_for(corrections, was=kind.was, taken=_taken(kind))
    if change is None:
        return None, (
            f"{len(corrections)} corrections of {kind.was} to {kind.expert.slug}: no condition describes them that was "
            "not dismissed, and their prompts are examples already."
        )
    proposal = _kept(change, kind.proposal, _effect(change))
    return proposal, f"Proposal {proposal.pk}: {proposal}." if proposal else "It was decided on meanwhile."


def _taken(kind: Kind) -> frozenset[str]:
    """Return the signatures of what is proposed already, was dismissed, or is in force as a rule."""
    others = Proposal.objects.exclude(pk=kind.proposal.pk) if kind.proposal else Proposal.objects.all()
    known = others.filter(Q(status__in=(OPEN, DISMISSED)) | Q(rule__isnull=False))
    return frozenset(known.values_list("signature", flat=True))


def _effect(change: Change) -> dict[str, Any]:
    try:
        return change.effect()
    except TooFewExamples as error:
        return {"problem": str(error)}


@transaction.atomic
def _kept(change: Change, known: Proposal | None, effect: dict[str, Any]) -> Proposal | None:
    """Make the proposal, or bring the one that waits up to date; None if somebody decided on that meanwhile."""
    row = known or Proposal(was=change.was, expert=change.expert)
    if known is not None and not Proposal.objects.select_for_update().filter(pk=known.pk, status=OPEN).exists():
        return None
    row.kind, row.signature, row.summary = change.kind, change.signature, change.summary
    row.content, row.effect = change.content(), effect
    row.save()
    # One that was replaced while this was measured is another correction now.
    free = Feedback.objects.learnable().filter(proposal=None, expert=change.expert)
    free.filter(pk__in=[one.pk for one in change.corrections]).update(proposal=row)
    return row


# --- deciding on them -------------------------------------------------------------------------------------------


def proposal_accept(proposal: Proposal, *, user: Any, signature: str, reason: str = "") -> Proposal:
    """Put a proposal into force: make its rule, or its prompts examples; raises NotDecided.

    ``signature`` is what the person saw. The router is measured before, and after: at once for a rule; for examples
    once the classifier was trained anew (see ``changes_propose``).
    """
    own = list(proposal.corrections.select_related("expert"))
    now = settings_now()
    before = evaluation_of(now, own)
    with transaction.atomic():
        row = _locked(proposal, signature)
        if not row.expert.enabled:
            raise NotDecided(f"{row.expert} is disabled. Enable it first, or dismiss the proposal.")
        if row.kind == Proposal.Kind.RULE:
            _rule_make(row)
        else:
            _examples_make(row, user)
        row.before = before
        _decide(row, ACCEPTED, user, reason)
    if row.kind == Proposal.Kind.RULE:
        # The same classifier, which remembers what it thinks of these prompts.
        row.after = evaluation_of(replace(settings_now(), classifying=now.classifying), own)
        row.save(update_fields=["after"])
    return row


@transaction.atomic
def proposal_dismiss(proposal: Proposal, *, user: Any, signature: str, reason: str = "") -> Proposal:
    """Put a proposal aside, so that it is not made again; raises NotDecided."""
    row = _locked(proposal, signature)
    _decide(row, DISMISSED, user, reason)
    return row


def _locked(proposal: Proposal, signature: str) -> Proposal:
    row = Proposal.objects.select_for_update(of=("self",)).select_related("expert").get(pk=proposal.pk)
    if row.status != OPEN:
        raise NotDecided(f"This proposal was {row.get_status_display()} already; nothing was changed.")
    if row.signature != signature:
        raise NotDecided("Further corrections changed this proposal meanwhile. Look at it once more, then decide.")
    return row


def _decide(row: Proposal, status: Proposal.Status, user: Any, reason: str) -> None:
    row.status, row.decided_at, row.decided_by, row.reason = status, timezone.now(), user, reason
    row.save()


def _rule_make(row: Proposal) -> None:
    note = f"Proposal {row.pk}: {row.corrections.count()} corrections of {row.was}."
    rule = rule_row(row.content, row.expert, note=note)
    try:
        rule.full_clean()
        rule.clean_actions(())
    except ValidationError as error:
        raise NotDecided(f"The rule cannot be made: {' '.join(error.messages)} Dismiss the proposal.") from error
    rule.save()
    row.rule = rule


def _examples_make(row: Proposal, user: Any) -> None:
    corrections = row.corrections.exclude(prompt="")
    if not corrections:
        raise NotDecided("The prompts of its corrections were deleted, as they were too old. Dismiss the proposal.")
    for one in corrections:
        RouteExample.objects.correct(one.prompt, row.expert, user=user)


# --- what became of them ----------------------------------------------------------------------------------------


def _in_force() -> list[tuple[Proposal, ClassifierVersion]]:
    """Return accepted examples that were not measured since, once a classifier was trained with what there is now."""
    from routing.versions import is_stale

    accepted = list(Proposal.objects.filter(status=ACCEPTED, kind=Proposal.Kind.EXAMPLES, after={}).order_by("pk"))
    newest = ClassifierVersion.objects.defer("weights").first() if accepted else None
    return [(proposal, newest) for proposal in accepted] if newest is not None and not is_stale() else []


def _after_measure(proposal: Proposal, version: ClassifierVersion) -> None:
    own = list(proposal.corrections.select_related("expert"))
    after = evaluation_of(settings_now(), own) | {"classifier": version.pk}
    if not version.active:
        after["problem"] = f"{version}, which was trained with them, is not active."
    proposal.after = after
    proposal.save(update_fields=["after"])
