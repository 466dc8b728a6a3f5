"""Compiles a program on the examples there are and measures it, from beginning to end, within a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import dspy

from routing.catalog import AUTO, Catalog, Expert
from routing.choosing import candidates
from routing.classifying import Opinion
from routing.decision import Outlook
from routing.models import RouteExample, RouterProgram
from routing.program.asking import ModelFails, Models, asked, woken
from routing.program.compiling import Compiled, Say, compiled, quiet_loggers
from routing.program.deciding import SPARE_SECONDS
from routing.program.engine import language_model
from routing.program.measuring import Outcome, least_confidence
from routing.program.module import ChooseExpert, module_from
from routing.program.plan import CannotOptimize, Plan, runner_of
from routing.program.study import Case, Study, TooFewCases, study
from routing.program.versions import program_keep

COMPILING_SHARE = 0.6
"""Of the time there is once the classifier has learnt; the rest is for measuring."""
WAKE_SECONDS = 180.0
"""Longest time for the first call, which may have to wait until a model is loaded."""
ASK_SECONDS = 60.0
"""Longest time for one call, where the program's own limit does not count."""
TEACHER_SECONDS = 180.0
TEACHER_TOKENS = 1_500
MOST_THREADS = 4


def program_optimize(version: RouterProgram, plan: Plan, known: Catalog, say: Say) -> None:
    """Compile ``version`` on its expert, measure it and keep both. Raises CannotOptimize."""
    began = time.monotonic()
    runner = runner_of(known, version.runs_on.slug if version.runs_on else "")
    teacher = runner_of(known, plan.teacher) if plan.teacher else runner
    say(f"Learning from the examples which ones the classifier is unsure of. {runner.slug} will run the program.")
    chosen = study_now(known, plan)
    say(f"{len(chosen.training)} examples to compile with, {len(chosen.held_out)} to measure with.")
    experts = [expert for expert in known.experts.values() if expert.replicas]
    run = _Run(version=version, known=known, experts=experts, chosen=chosen, say=say)
    until = began + 60 * plan.minutes
    found = run.compile(runner, teacher, _after(COMPILING_SHARE, until))
    run.fill(found, plan.accept_from)
    active = run.active()
    outcomes = run.measure(runner, _after(0.5 if active else 1.0, until))
    facts = run.facts(found, outcomes) | {"teacher": teacher.slug}
    if active and (beside := run.beside(active, until)):
        facts["beside"] = beside
    program_keep(version, outcomes=outcomes, facts=facts | {"seconds": round(time.monotonic() - began)})


def _after(share: float, until: float) -> float:
    """Return when ``share`` of the time from now to ``until`` will be over (of time.monotonic)."""
    now = time.monotonic()
    return now + share * max(0.0, until - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A version on its way, with the examples and the experts it is about; deadlines are of time.monotonic()."""

    version: RouterProgram
    known: Catalog
    experts: Sequence[Expert]
    chosen: Study
    say: Say

    def compile(self, runner: Expert, teacher: Expert, deadline: float) -> Compiled:
        """Return the best program that is found in time. Raises CannotOptimize."""
        with _model(runner) as lm, _model(teacher, teaches=True) as writes:
            try:
                self._wake(module_from(None), runner)
            except ModelFails as error:
                raise CannotOptimize(
                    f"The model of expert {runner.slug} does not answer: {error} Start its model server, or choose "
                    "another expert to run the program."
                ) from error
            found = compiled(
                self.chosen.training,
                self.experts,
                optimizer=self.version.optimizer,
                lm=lm,
                teacher=writes,
                threads=min(MOST_THREADS, sum(replica.concurrency for replica in runner.replicas)),
                deadline=deadline,
                say=self.say,
            )
        if found.trouble:
            self.say(f"The optimizer could not go on ({found.trouble}); the best program so far is measured.")
        elif not found.in_time:
            self.say("Compiling was ended, since its time is up; the best program so far is measured.")
        return found

    def fill(self, found: Compiled, accept_from: float | None) -> None:
        """Fill the version with what was compiled, and the confidence from which on it is to be listened to."""
        version = self.version
        version.state, version.instructions, version.demos = found.state, found.instructions, found.demos
        version.experts = [expert.slug for expert in self.experts]
        version.examples = len(self.chosen.training)
        version.fingerprint = self.chosen.fingerprint
        best = least_confidence(found.outcomes, version.time_limit)
        version.accept_from = best if accept_from is None else accept_from

    def measure(self, runner: Expert, deadline: float) -> list[Outcome]:
        """Return what the program says of the held-out examples. Raises CannotOptimize."""
        self.say(f"Asking the program about {len(self.chosen.held_out)} held-out examples.")
        try:
            return self._asked(self.version, runner, deadline)
        except ModelFails as error:
            raise CannotOptimize(f"The model of expert {runner.slug} does not answer any more: {error}") from error

    def active(self) -> RouterProgram | None:
        others = RouterProgram.objects.filter(active=True).exclude(pk=self.version.pk)
        return others.select_related("runs_on").first()

    def beside(self, active: RouterProgram, deadline: float) -> dict[str, Any] | None:
        """Return what the active program says of the same examples at the same time, None where it cannot be asked."""
        runner = self.known.experts.get(active.runs_on.slug) if active.runs_on else None
        if runner is None or not runner.replicas:
            return None
        self.say(f"Asking {active}, which is on, about the same examples.")
        try:
            outcomes = self._asked(active, runner, deadline)
        except (ModelFails, KeyError, TypeError, ValueError) as error:
            self.say(f"{active} could not be asked: {error}")
            return None
        return {"program": active.pk, "outcomes": [asdict(one) for one in outcomes]}

    def _asked(self, version: RouterProgram, runner: Expert, deadline: float) -> list[Outcome]:
        module = module_from(version.state or None)
        limit = max(0.01, version.time_limit - SPARE_SECONDS)
        self._wake(module, runner)
        with _model(runner, limit) as hurried, _model(runner) as patient, quiet_loggers():
            models = Models(hurried=hurried, patient=patient, limit=limit)
            return asked(module, self.chosen.held_out, self.experts, models, deadline=deadline, say=self.say)

    def _wake(self, module: ChooseExpert, runner: Expert) -> None:
        """Have the model loaded, and the beginning of the prompt in its cache. Raises ModelFails."""
        with _model(runner, WAKE_SECONDS) as lm, quiet_loggers():
            woken(module, self.chosen.training[0], self.experts, lm)

    def facts(self, found: Compiled, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Return what is to be known of how the version came to be."""
        chosen = self.chosen
        return {
            "training": {
                "count": len(chosen.training),
                "own": sum(case.own for case in chosen.training),
                "candidates": found.candidates,
                "score": found.score,
                "ended_early": not found.in_time,
                "trouble": found.trouble,
            },
            "held_out_own": sum(case.own for case in chosen.held_out[: len(outcomes)]),
        }


@contextmanager
def _model(expert: Expert, seconds: float = ASK_SECONDS, *, teaches: bool = False) -> Iterator[dspy.LM]:
    """Yield an expert's model; what it is still asked when it is done with is broken off."""
    if teaches:
        lm = language_model(expert, timeout=TEACHER_SECONDS, max_tokens=TEACHER_TOKENS, temperature=1.0)
    else:
        lm = language_model(expert, timeout=seconds)
    try:
        yield lm
    finally:
        lm.engine.close()


def study_now(known: Catalog, plan: Plan) -> Study:
    """Return the examples to compile and to measure with. Raises CannotOptimize."""
    try:
        return study(cases_now(known), training=plan.examples, held_out=plan.held_out)
    except TooFewCases as error:
        raise CannotOptimize(str(error)) from error


def cases_now(known: Catalog) -> list[Case]:
    """Return the examples that the classifier is unsure of, as far as it has not learnt from them.

    Takes as long as training the classifier does. Raises CannotOptimize.
    """
    from routing.classifier.training import TooFewExamples
    from routing.versions import examples_read, probabilities_of, trained_of

    examples = examples_read()
    try:
        trained, _ = trained_of(examples, remember=True)
    except TooFewExamples as error:
        raise CannotOptimize(str(error)) from error
    of_prompts = {examples[number].prompt: row for number, row in zip(trained.kept, trained.left_out, strict=True)}
    kept_apart = list(RouteExample.objects.evaluation().order_by("id").values_list("prompt", flat=True))
    of_prompts |= dict(zip(kept_apart, probabilities_of(trained.classifier, kept_apart), strict=True))
    able = {expert.slug: expert for expert in known.experts.values() if expert.replicas}
    found = []
    for row in RouteExample.objects.usable().filter(expert__slug__in=able).select_related("expert").order_by("id"):
        if (probabilities := of_prompts.get(row.prompt)) is not None:
            opinion = Opinion(
                probabilities=dict(zip(trained.classifier.experts, map(float, probabilities), strict=True)),
                abstain=trained.classifier.abstain,
            )
            found += _cases(row, opinion, able, known)
    return found


def _cases(row: RouteExample, opinion: Opinion, able: Mapping[str, Expert], known: Catalog) -> list[Case]:
    """Return an example as a case where the program would be asked, with the expert the router chooses without it."""
    likely = candidates(opinion, able, known.profiles[AUTO], frozenset(), lambda expert, needs: Outlook())
    confidence = max((one.probability for one in likely), default=0.0)
    if confidence >= opinion.abstain:
        return []
    unknown = known.default if known.default is not None and known.default in able else next(iter(able))
    return [
        Case(
            digest=row.digest,
            prompt=row.prompt,
            expert=row.expert.slug,
            guess=likely[0].expert if likely else unknown,
            confidence=confidence,
            own=row.source != RouteExample.Source.STARTER,
            only_held_out=row.split == RouteExample.Split.EVALUATION,
        )
    ]
