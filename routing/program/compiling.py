"""Compiles a program: has DSPy look for the instructions and demonstrations with which it is right most often."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from routing.catalog import Expert
from routing.program.measuring import Outcome
from routing.program.module import ChooseExpert, inputs_for, state_of
from routing.program.study import Case

logger = logging.getLogger("routing")

BOOTSTRAPPED, MOST_DEMOS = 4, 6
"""Demonstrations in a program: those a model answered itself, and all. Each one is read with every request."""
CANDIDATES = 8
"""Sets of demonstrations the random search tries, beside the program as it is and two it always tries."""
SEED = 9

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """The best program found; ``outcomes`` are what it said of the training cases it was chosen by, without times.

    ``candidates`` is how many were tried to the end, ``in_time`` whether the search ended by itself, and ``trouble``
    what kept the optimizer from going on.
    """

    state: dict[str, Any]
    instructions: str
    demos: list[dict[str, Any]]
    outcomes: tuple[Outcome, ...]
    candidates: int
    score: float | None
    in_time: bool
    trouble: str


class OutOfTime(BaseException):
    """Compiling has used its time up. Like a cancellation it is no Exception: optimizers count those and go on."""


class Watch(BaseCallback):
    """Sees every program an optimizer tries, keeps the best, and breaks the search off at ``deadline`` (monotonic).

    Only trials on exactly the examples ``choosing`` count: optimizers also look at a few, or at those to learn from.
    """

    def __init__(self, *, choosing: Sequence[Any], deadline: float, say: Say) -> None:
        self._choosing = {example.conversation for example in choosing}
        self._deadline = deadline
        self._say = say
        self._tried: dict[str, Any] = {}
        self.program: Any = None
        self.results: Sequence[tuple[Any, Any, Any]] = ()
        self.score: float | None = None
        self.candidates = 0

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if time.monotonic() > self._deadline:
            raise OutOfTime

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._tried[call_id] = inputs["program"]

    def on_evaluate_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        program = self._tried.pop(call_id, None)
        if outputs is None or {example.conversation for example, _, _ in outputs.results} != self._choosing:
            return
        self.candidates += 1
        if self.score is None or outputs.score > self.score:
            self.program, self.score, self.results = program.deepcopy(), outputs.score, list(outputs.results)
        self._say(f"Candidate {self.candidates}: {outputs.score:.1f} % right; the best so far {self.score:.1f} %.")


def compiled(
    cases: Sequence[Case],
    experts: Sequence[Expert],
    *,
    optimizer: str,
    lm: dspy.LM,
    teacher: dspy.LM,
    threads: int,
    deadline: float,
    say: Say,
) -> Compiled:
    """Return the best program for ``cases`` that ``optimizer`` finds until ``deadline`` (of time.monotonic).

    Half of the cases are shown to it, the other half choose between what it tries. ``lm`` runs the program and
    ``teacher`` writes instructions. When time is up, or an optimizer cannot go on, the best so far is returned: at
    least the program as it is written.
    """
    # On by default: it would answer from a folder in the user's home, and write there.
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    shown, choosing = examples_of(cases[::2], experts), examples_of(cases[1::2], experts)
    watch = Watch(choosing=choosing, deadline=deadline, say=say)
    search = _Search(shown, choosing, lm=lm, teacher=teacher, threads=threads, deadline=deadline)
    in_time, trouble = True, ""
    with dspy.context(lm=lm, callbacks=[watch], disable_history=True), _quiet():
        try:
            trouble = search.run(optimizer, watch)
        except OutOfTime:
            in_time = False
    chosen_by = _by_conversation(cases[1::2], experts)
    return _compiled(watch.program or ChooseExpert(), watch, chosen_by, in_time=in_time, trouble=trouble)


def _compiled(program: ChooseExpert, watch: Watch, cases: dict[str, Case], *, in_time: bool, trouble: str) -> Compiled:
    state = state_of(program)
    choose = state["choose"]
    return Compiled(
        state=state,
        instructions=choose["signature"]["instructions"],
        demos=[{name: demo.get(name) for name in _SHOWN if demo.get(name)} for demo in choose["demos"]],
        outcomes=tuple(_outcome(cases[example.conversation], said) for example, said, _ in watch.results),
        candidates=watch.candidates,
        score=watch.score,
        in_time=in_time,
        trouble=trouble,
    )


_SHOWN = ("conversation", "expert", "confidence", "reason")


def _outcome(case: Case, said: Any) -> Outcome:
    said = said[0] if isinstance(said, tuple) else said  # GEPA has the trace returned as well
    expert, confidence = said.get("expert", ""), said.get("confidence", 0.0)
    return Outcome(
        digest=case.digest, expert=case.expert, guess=case.guess, said=expert, confidence=float(confidence), ms=0.0
    )


def examples_of(cases: Sequence[Case], experts: Sequence[Expert]) -> list[dspy.Example]:
    """Return ``cases`` as DSPy takes them: the program's inputs, and the expert that is right."""
    return [
        dspy.Example(**inputs_for(case.prompt, experts), expert=case.expert).with_inputs("experts", "conversation")
        for case in cases
    ]


def _by_conversation(cases: Sequence[Case], experts: Sequence[Expert]) -> dict[str, Case]:
    # Optimizers put the cases into an order of their own.
    return {inputs_for(case.prompt, experts)["conversation"]: case for case in cases}


class _Search:
    """The optimizers, by the names a RouterProgram has for them."""

    def __init__(
        self,
        shown: list[dspy.Example],
        choosing: list[dspy.Example],
        *,
        lm: dspy.LM,
        teacher: dspy.LM,
        threads: int,
        deadline: float,
    ) -> None:
        self._shown, self._choosing = shown, choosing
        self._lm, self._teacher = lm, teacher
        self._threads, self._deadline = threads, deadline
        # A model that fails now and then is wrong now and then; a search that is broken off tells nothing.
        self._most_errors = 1_000_000

    def run(self, optimizer: str, watch: Watch) -> str:
        """Search; return what kept the optimizer from going on, "" where nothing did."""
        try:
            getattr(self, optimizer)(ChooseExpert())
        except Exception as error:  # a teacher that writes what cannot be read ends an optimizer in many ways
            trouble = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            logger.warning("an optimizer cannot go on optimizer=%s error=%s", optimizer, trouble)
            if watch.program is None:
                self.none(ChooseExpert())
            return trouble
        return ""

    def none(self, student: ChooseExpert) -> None:
        """Try the program as it is written."""
        dspy.Evaluate(devset=self._choosing, metric=is_right, num_threads=self._threads, max_errors=self._most_errors)(
            student
        )

    def bootstrap(self, student: ChooseExpert) -> None:
        """Try sets of demonstrations that were answered rightly before."""
        dspy.BootstrapFewShotWithRandomSearch(
            metric=is_right,
            max_bootstrapped_demos=BOOTSTRAPPED,
            max_labeled_demos=MOST_DEMOS,
            num_candidate_programs=CANDIDATES,
            num_threads=self._threads,
            max_errors=self._most_errors,
            stop_at_score=100.0,
        ).compile(student, trainset=self._shown, valset=self._choosing)

    def mipro(self, student: ChooseExpert) -> None:
        """Try instructions that the teacher proposes, with sets of demonstrations."""
        dspy.MIPROv2(
            metric=is_right,
            prompt_model=self._teacher,
            task_model=self._lm,
            max_bootstrapped_demos=BOOTSTRAPPED,
            max_labeled_demos=MOST_DEMOS,
            auto="light",
            num_threads=self._threads,
            max_errors=self._most_errors,
            seed=SEED,
        ).compile(student, trainset=self._shown, valset=self._choosing)

    def gepa(self, student: ChooseExpert) -> None:
        """Have the teacher reflect on what went wrong and write better instructions."""
        dspy.GEPA(
            metric=feedback,
            auto="light",
            reflection_lm=self._teacher,
            num_threads=self._threads,
            seed=SEED,
            gepa_kwargs={"stop_callbacks": lambda _state: time.monotonic() > self._deadline},
        ).compile(student, trainset=self._shown, valset=self._choosing)


def is_right(example: Any, prediction: Any, trace: Any = None) -> float:
    return float(prediction.get("expert") == example.expert)


def feedback(example: Any, prediction: Any, trace: Any = None, name: Any = None, its_trace: Any = None) -> Any:
    """Return the score with a sentence on what was right and what the program took it for."""
    experts = dict(line.split(": ", 1) for line in example.experts.splitlines())
    said = prediction.get("expert") or ""
    right = f"“{example.expert}” should answer: {experts.get(example.expert, '')}"
    if said == example.expert:
        return dspy.Prediction(score=1.0, feedback=f"Right. {right}")
    wrong = (
        f"“{said}” was chosen, which is for: {experts.get(said, '')}" if said else "No expert of the list was named."
    )
    return dspy.Prediction(score=0.0, feedback=f"Wrong. {right}\n{wrong}\nSay what tells the two apart.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what DSPy prints and draws from the terminal, too; ``Say`` tells what matters."""
    with (
        quiet_loggers(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(action="ignore"),  # of what is experimental in optuna
    ):
        yield


@contextlib.contextmanager
def quiet_loggers() -> Iterator[None]:
    """Have DSPy and its optimizers log nothing: they write a line for each answer that was cut short."""
    loggers = [logging.getLogger(name) for name in ("dspy", "optuna", "gepa")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
