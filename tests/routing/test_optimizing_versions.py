"""Which versions of the program may be switched on, and what becomes of old ones."""

import datetime as dt

import pytest
from django.utils import timezone

from routing.models import Expert, RouterProgram
from routing.program import runs, versions
from routing.program.runs import DIED, Progress, run_failed, runs_settle
from routing.program.versions import (
    NotShownToHelp,
    StateDamaged,
    gains,
    program_activate,
    program_deactivate,
    program_judge_anew,
    programs_prune,
    reason_against,
)
from tests.routing.programs import measured_program, outcomes

pytestmark = pytest.mark.django_db


def active():
    return list(RouterProgram.objects.filter(active=True))


def test_one_that_is_shown_to_help_is_switched_on():
    program = measured_program(32)
    (gain,) = gains(program)
    assert gain.over == "the classifier alone"
    assert gain.numbers["difference"] == pytest.approx(22 / 40)
    assert gain.shown
    program_activate(program)
    assert active() == [program]
    assert program.note == ""


@pytest.mark.parametrize("right", [0, 10, 14])
def test_one_that_is_not_shown_to_help_is_refused(right):
    program = measured_program(right)
    with pytest.raises(NotShownToHelp, match=r"is not shown to be better: .* compared with the classifier alone"):
        program_activate(program)
    assert active() == []
    program_activate(program, force=True)
    assert active() == [program]
    program.refresh_from_db()
    assert "activated by force. Program" in program.note


def test_it_must_also_be_better_than_the_one_that_is_on():
    on = measured_program(30, active=True)
    same = measured_program(30)
    assert [gain.over for gain in gains(same)] == ["the classifier alone", f"{on}, which is on"]
    with pytest.raises(NotShownToHelp, match=f"compared with {on}, which is on"):
        program_activate(same)
    better = measured_program(40)
    program_activate(better)
    assert active() == [better]


def test_going_back_to_one_that_was_shown_to_help_needs_no_force_and_to_a_forced_one_does():
    first, second, bad = measured_program(30), measured_program(40), measured_program(0)
    program_activate(first)
    program_activate(second)
    program_activate(first)
    assert active() == [first]
    program_activate(bad, force=True)
    program_activate(second)
    with pytest.raises(NotShownToHelp):
        program_activate(bad)


def test_better_than_a_bad_program_is_not_enough():
    measured_program(0, active=True)
    assert "the classifier alone" in reason_against(measured_program(12))


def test_the_one_that_is_on_is_judged_by_what_it_said_at_the_same_time():
    on = measured_program(40, active=True)
    late = measured_program(30)
    theirs = [{**one, "said": "math"} for one in on.metrics["outcomes"]]
    late.metrics["beside"] = {"program": on.pk, "outcomes": theirs}
    late.save()
    assert reason_against(late) == ""


def test_other_cases_are_no_comparison():
    measured_program(30, active=True)
    other = measured_program(40)
    for number, one in enumerate(other.metrics["outcomes"]):
        one["digest"] = f"other {number}"
    other.save()
    assert "were not measured on the same examples" in reason_against(other)
    program_deactivate()
    assert reason_against(other) == ""


def test_one_that_was_not_measured_is_refused():
    program = measured_program(32)
    program.metrics = {}
    assert "was not measured" in reason_against(program)
    few = measured_program(10, of=12, guessed=1)
    assert "at least 20 held-out examples" in reason_against(few)


@pytest.mark.parametrize("status", ["running", "failed"])
def test_one_that_is_not_done_is_refused_even_by_force(status):
    program = measured_program(32)
    program.status = status
    with pytest.raises(NotShownToHelp, match="only a version that was compiled and evaluated"):
        program_activate(program, force=True)


def test_one_that_cannot_be_run_is_refused_even_by_force():
    damaged = measured_program(32)
    damaged.state = {"choose": {"demos": 3}}
    with pytest.raises(StateDamaged, match="cannot be read"):
        program_activate(damaged, force=True)
    orphan = measured_program(32)
    Expert.objects.update(enabled=False)
    orphan.refresh_from_db()
    with pytest.raises(StateDamaged, match="gone or disabled"):
        program_activate(orphan, force=True)


def test_other_settings_are_judged_without_asking_anybody():
    program = measured_program(32, ms=1200.0)
    assert reason_against(program) == ""
    program.time_limit = 1.0
    program_judge_anew(program)
    assert program.metrics["stage"]["accuracy"] == program.metrics["classifier"]["accuracy"]
    assert program.metrics["seconds"] == 61
    assert "not shown to be better" in reason_against(program)
    program.time_limit, program.accept_from = 1.5, 0.9
    program_judge_anew(program)
    assert program.metrics["shares"]["accepted"] == 0.0


def test_old_versions_go_and_the_active_one_stays(monkeypatch):
    monkeypatch.setattr(versions, "KEPT", 2)
    oldest = measured_program(32, active=True)
    others = [measured_program(32) for _ in range(4)]
    running = RouterProgram.objects.create()
    programs_prune()
    kept = {program.pk for program in RouterProgram.objects.all()}
    assert kept == {oldest.pk, others[2].pk, others[3].pk, running.pk}


def test_a_run_that_died_is_failed_and_one_that_begins_is_not(monkeypatch):
    died, begins = RouterProgram.objects.create(progress="10 s: asked"), RouterProgram.objects.create()
    RouterProgram.objects.filter(pk=died.pk).update(created_at=timezone.now() - dt.timedelta(minutes=5))
    monkeypatch.setattr(runs, "is_going_on", lambda: True)
    runs_settle()
    assert RouterProgram.objects.filter(status="running").count() == 2
    monkeypatch.undo()
    runs_settle()
    died.refresh_from_db()
    begins.refresh_from_db()
    assert (died.status, died.progress) == ("failed", f"10 s: asked\n{DIED}")
    assert begins.status == "running"


def test_a_run_that_holds_the_lock_goes_on():
    assert not runs.is_going_on()
    with runs.the_only_run():
        assert runs.is_going_on()
    assert not runs.is_going_on()


def test_progress_is_written_to_the_row():
    program, said = RouterProgram.objects.create(), []
    progress = Progress(program, said.append)
    progress("Learning.")
    progress("Compiling.")  # too soon after the first to be written
    assert RouterProgram.objects.get().progress == "0 s: Learning."
    assert said == ["0 s: Learning.", "0 s: Compiling."]
    run_failed(program, "The model went away.")
    assert RouterProgram.objects.get().progress == "0 s: Learning.\nThe model went away."


def test_outcomes_of_made_up_cases_are_what_they_say():
    assert sum(one.said == one.expert for one in outcomes(32)) == 32
    assert sum(one.guess == one.expert for one in outcomes(32)) == 10
