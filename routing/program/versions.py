"""Versions of the program: kept with what was measured, activated where that shows that they help, taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from routing.models import RouterProgram
from routing.program.measuring import Outcome, Settings, compared, outcomes_of, points, report
from routing.program.study import FEWEST_HELD_OUT

KEPT = 10
"""Versions that are kept beside the active one."""
COMPILED = ("state", "instructions", "demos", "experts", "examples", "fingerprint", "accept_from")


class NotShownToHelp(Exception):
    """A program is not switched on: the message says what speaks against it."""


class StateDamaged(Exception):
    """What is stored of a program cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """By how much a version is better than ``over``; ``numbers`` are those of measures.paired."""

    over: str
    numbers: Mapping[str, Any]

    @property
    def shown(self) -> bool:
        """Whether it is better by more than chance."""
        return bool(self.numbers["interval"][0] > 0)

    def __str__(self) -> str:
        return f"{points(self.numbers)}, compared with {self.over}"


def settings_of(version: RouterProgram) -> Settings:
    return Settings(time_limit=version.time_limit, accept_from=version.accept_from)


def program_keep(version: RouterProgram, *, outcomes: list[Outcome], facts: Mapping[str, Any]) -> None:
    """Save what was compiled, with the report on ``outcomes``; ``facts`` are added to its metrics."""
    # Somebody may have changed these while it was compiled.
    version.refresh_from_db(fields=["time_limit", "loads_model", "note"])
    version.metrics = report(outcomes, settings_of(version)) | dict(facts)
    version.status = RouterProgram.Status.DONE
    version.save(update_fields=[*COMPILED, "metrics", "status", "progress"])


def program_judge_anew(version: RouterProgram) -> None:
    """Bring a version's report up to its time limit and least confidence; save it yourself."""
    outcomes = outcomes_of(version.metrics)
    if outcomes:
        version.metrics = version.metrics | report(outcomes, settings_of(version))


def gains(version: RouterProgram) -> list[Gain]:
    """Return by how much a version is better than the classifier alone, and than the active program if there is one.

    A version that was not measured has none.
    """
    outcomes = outcomes_of(version.metrics)
    if not outcomes:
        return []
    settings = settings_of(version)
    found = [Gain(over="the classifier alone", numbers=report(outcomes, settings)["gain"])]
    active = RouterProgram.objects.filter(active=True).exclude(pk=version.pk).first()
    if active is not None:
        # Measured beside it at the same time, if that is the one that is on now.
        beside = version.metrics.get("beside") or {}
        theirs = beside if beside.get("program") == active.pk else active.metrics
        numbers = compared(outcomes_of(theirs), settings_of(active), outcomes, settings)
        found.append(Gain(over=f"{active}, which is on", numbers=numbers))
    return found


def reason_against(version: RouterProgram) -> str:
    """Return in a sentence why ``version`` should not be switched on, "" where nothing speaks against it.

    One that was shown to help before need not be better than the one that took its place: that is what going back is.
    """
    if version.status != RouterProgram.Status.DONE:
        return f"{version} {version.get_status_display()}; only a version that was compiled and evaluated can decide."
    found = gains(version)
    if not found or found[0].numbers["count"] < FEWEST_HELD_OUT:
        return f"{version} was not measured on at least {FEWEST_HELD_OUT} held-out examples."
    for gain in found[:1] if version.shown_to_help_at else found:
        if gain.numbers["count"] < FEWEST_HELD_OUT:
            return (
                f"{version} and {gain.over}, were not measured on the same examples. Compile it anew, or deactivate "
                "the other first: then it need only be better than the classifier alone."
            )
        if not gain.shown:
            return f"{version} is not shown to be better: {gain}."
    return ""


@transaction.atomic
def program_activate(version: RouterProgram, *, force: bool = False) -> None:
    """Make ``version`` the one that is asked, in every process within a second.

    Raises NotShownToHelp unless ``force``, which is noted on it, and StateDamaged.
    """
    check(version)
    if reason := reason_against(version):
        if not force or version.status != RouterProgram.Status.DONE:
            raise NotShownToHelp(reason)
        noted = f"{timezone.localdate():%Y-%m-%d}: activated by force. {reason}"
        version.note = f"{version.note}\n{noted}".strip()
    else:
        version.shown_to_help_at = timezone.now()
    RouterProgram.objects.filter(active=True).exclude(pk=version.pk).update(active=False)
    version.active = True
    version.save(update_fields=["active", "note", "shown_to_help_at"])


def check(version: RouterProgram) -> None:
    """Make sure that a version can be run: its expert is there and its state can be read. Raises StateDamaged."""
    from routing.program.module import module_from  # loads DSPy

    if version.runs_on is None or not version.runs_on.enabled:
        raise StateDamaged(f"The expert that runs {version} is gone or disabled; choose another and compile anew.")
    try:
        module_from(version.state or None)
    except Exception as error:  # a damaged state fails in any of a dozen ways
        raise StateDamaged(f"The state of {version} cannot be read: {type(error).__name__}: {error}") from error


def program_deactivate() -> None:
    """Let the classifier's best guess answer where it is unsure."""
    for version in RouterProgram.objects.filter(active=True):
        version.active = False
        version.save(update_fields=["active"])


def programs_prune() -> None:
    """Delete old versions, but for the last ones, what is active and what is being compiled."""
    ended = RouterProgram.objects.filter(active=False).exclude(status=RouterProgram.Status.RUNNING)
    old = ended.order_by("-id").values_list("pk", flat=True)[KEPT:]
    RouterProgram.objects.filter(pk__in=list(old)).delete()
