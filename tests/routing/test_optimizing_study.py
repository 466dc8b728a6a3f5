"""Which examples a program is compiled and measured with, and what is made of its answers."""

import hashlib

import pytest

from routing.classifier.measures import difference, paired
from routing.program.measuring import (
    Outcome,
    Settings,
    compared,
    least_confidence,
    outcomes_of,
    points,
    report,
    verdict,
)
from routing.program.study import Case, TooFewCases, is_training, study
from tests.routing.programs import outcomes

AS_IS = Settings(time_limit=1.5, accept_from=0.0)


def case(number, *, expert="code", own=False, only_held_out=False):
    digest = hashlib.sha256(f"{expert} {number}".encode()).hexdigest()
    return Case(
        digest=digest,
        prompt=f"prompt {number}",
        expert=expert,
        guess="math",
        confidence=0.4,
        own=own,
        only_held_out=only_held_out,
    )


def cases(count, **more):
    return [case(number, **more) for number in range(count)]


class TestStudy:
    def test_both_sides_are_apart_and_the_same_every_time(self):
        rows = cases(300)
        first = study(rows, training=100, held_out=100)
        assert study(list(reversed(rows)), training=100, held_out=100) == first
        assert (len(first.training), len(first.held_out)) == (100, 100)
        assert not {one.digest for one in first.training} & {one.digest for one in first.held_out}

    def test_what_was_held_out_once_is_never_learnt_from(self):
        before = study(cases(200), training=500, held_out=500)
        after = study(cases(400), training=500, held_out=500)
        assert {one.digest for one in before.held_out} <= {one.digest for one in after.held_out}
        assert {one.digest for one in before.training} <= {one.digest for one in after.training}

    def test_ones_own_examples_come_first(self):
        found = study([*cases(400), *cases(60, expert="own", own=True)], training=40, held_out=40)
        for side in (found.training, found.held_out):
            own = [one.own for one in side]
            assert own == sorted(own, reverse=True)
        assert sum(one.own for one in (*found.training, *found.held_out)) == 60

    def test_what_was_kept_for_evaluation_is_only_measured_with(self):
        kept = cases(30, expert="kept", only_held_out=True)
        found = study([*cases(200), *kept], training=50, held_out=50)
        assert not [one for one in found.training if one.only_held_out]
        assert [one.expert for one in found.held_out[:30]] == ["kept"] * 30

    def test_each_expert_has_its_share(self):
        rows = [*cases(300), *cases(100, expert="math"), *cases(100, expert="writing")]
        found = study(rows, training=50, held_out=50)
        for side in (found.training, found.held_out):
            shares = {slug: sum(one.expert == slug for one in side) for slug in ("code", "math", "writing")}
            assert shares["code"] == pytest.approx(30, abs=4)
            assert shares["math"] == pytest.approx(10, abs=3)

    @pytest.mark.parametrize(("count", "training"), [(0, 100), (20, 100), (300, 5)])
    def test_too_few_are_said(self, count, training):
        with pytest.raises(TooFewCases, match=f"unsure of {count} of the examples"):
            study(cases(count), training=training, held_out=100)

    def test_about_half_of_all_are_for_training(self):
        assert sum(is_training(one.digest) for one in cases(1000)) == pytest.approx(500, abs=50)

    def test_the_fingerprint_tells_studies_apart(self):
        prints = {study(cases(count), training=100, held_out=100).fingerprint for count in (100, 110, 110)}
        assert len(prints) == 2


class TestDifference:
    @pytest.mark.parametrize(
        ("gained", "lost", "of", "low", "high"),
        [
            # Worked by hand from the formula: d = (g - l) / (n + 2), and its spread.
            (7, 1, 21, 0.013, 0.508),  # the airway data of Bentur et al. 2009 (used by Fagerland et al. 2014)
            (16, 6, 161, 0.003, 0.120),
            (0, 0, 100, -0.027, 0.027),
            (50, 50, 100, -0.194, 0.194),
            (100, 0, 100, 0.942, 1.0),
            (0, 0, 0, -1.0, 1.0),
        ],
    )
    def test_known_intervals(self, gained, lost, of, low, high):
        assert difference(gained, lost, of) == pytest.approx((low, high), abs=0.001)
        assert difference(lost, gained, of) == pytest.approx((-high, -low), abs=0.001)

    def test_only_what_differs_counts(self):
        first = [True] * 5 + [False] * 5
        second = [True] * 4 + [False] + [True] * 3 + [False] * 2
        found = paired(first, second)
        assert (found["gained"], found["lost"], found["count"]) == (3, 1, 10)
        assert found["difference"] == pytest.approx(0.2)


class TestMeasuring:
    def test_what_is_late_or_unsure_is_the_classifiers_guess(self):
        one = Outcome(digest="a", expert="code", guess="math", said="code", confidence=0.6, ms=900)
        assert one.chosen(AS_IS) == "code"
        assert one.chosen(Settings(time_limit=0.8, accept_from=0.0)) == "math"
        assert one.chosen(Settings(time_limit=1.5, accept_from=0.7)) == "math"
        late = Outcome(digest="a", expert="code", guess="math", said="", confidence=0.0, ms=1480, late=True)
        assert late.chosen(AS_IS) == "math"
        assert not late.in_time(Settings(time_limit=30, accept_from=0.0))
        silent = Outcome(digest="a", expert="code", guess="math", said="", confidence=0.0, ms=10)
        assert silent.chosen(AS_IS) == "math"

    def test_the_report_compares_on_the_same_cases(self):
        found = report(outcomes(30), AS_IS)
        assert found["classifier"]["accuracy"] == 0.25
        assert found["program"]["accuracy"] == found["stage"]["accuracy"] == 0.75
        assert (found["gain"]["gained"], found["gain"]["lost"]) == (30, 10)
        assert found["shares"] == {"in_time": 1.0, "abstained": 0.0, "failed": 0.0, "accepted": 1.0}
        assert (found["ms_median"], found["prompt_tokens"]) == (200.0, 400)
        assert outcomes_of(found) == outcomes(30)

    @pytest.mark.parametrize("metrics", [{}, [], None, {"outcomes": 3}, {"outcomes": [{"digest": "a"}]}])
    def test_metrics_of_another_shape_have_no_outcomes(self, metrics):
        assert outcomes_of(metrics) == []

    def test_two_are_compared_on_the_cases_both_answered(self):
        found = compared(outcomes(10)[:30], AS_IS, outcomes(20), AS_IS)
        assert (found["count"], found["gained"], found["lost"]) == (30, 10, 0)

    def test_the_least_confidence_is_the_lowest_that_does_best(self):
        def said(right, confidence, guessed):
            return Outcome(
                digest="a",
                expert="code",
                guess="code" if guessed else "math",
                said="code" if right else "math",
                confidence=confidence,
                ms=0,
            )

        rows = [said(False, 0.3, True), said(False, 0.5, True), said(True, 0.6, False), said(True, 0.9, False)]
        assert least_confidence(rows, 1.5) == 0.6
        assert least_confidence([said(True, 0.6, False)] * 3, 1.5) == 0.0
        assert least_confidence([], 1.5) == 0.0

    @pytest.mark.parametrize(
        ("gained", "lost", "words"), [(20, 2, "better"), (2, 20, "worse"), (5, 4, "not shown to be better")]
    )
    def test_a_difference_is_put_into_words(self, gained, lost, words):
        first = [True] * lost + [False] * (50 - lost)
        second = [False] * lost + [True] * gained + [False] * (50 - lost - gained)
        gain = paired(first, second)
        assert verdict(gain).startswith(words)
        assert points(gain).startswith(f"{2 * (gained - lost):+.1f} points (")
