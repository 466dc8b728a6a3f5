"""A run: the targets side by side on one stub, measured in turn round after round, so that all see the same machine."""

import contextlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.benchmarks.load import Job, measure
from tests.benchmarks.report import Case, Memory, Report, Round
from tests.benchmarks.targets import LITELLM, Gateway, LiteLLM, Stub, Target, TargetMissing

STREAM_TOKENS = 200
CHECK_SECONDS = 0.2
CASES = (
    Case(connections=1),
    Case(connections=8),
    Case(connections=32),
    Case(connections=1, stream=True, tokens=STREAM_TOKENS),
    Case(connections=32, stream=True, tokens=STREAM_TOKENS),
)


class RunFailed(Exception):
    """There is nothing to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run measures: ``seconds`` for each target and case in each of ``rounds``."""

    seconds: float = 3.0
    rounds: int = 5
    cases: Sequence[Case] = CASES
    litellm: bool = True


def run(plan: Plan, folder: Path, *, say: Callable[[str], object] = print) -> Report:
    """Start what ``plan`` measures with its files in ``folder``, measure it, and stop it."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    with contextlib.ExitStack() as started:
        stub = Stub()
        started.callback(stub.stop)
        stub.start()
        targets: list[Target] = []
        for target in (Gateway(folder, stub), *([LiteLLM(folder, stub)] if plan.litellm else [])):
            started.callback(target.stop)
            say(f"starting {target.name} …")
            try:
                target.start()
            except TargetMissing as reason:
                say(f"{target.name} is left out: {reason}")
                continue
            targets.append(target)
        report = Report(about=_about(plan, targets))
        _measure(plan, [*targets, stub], report, say)
    return report


def _measure(plan: Plan, targets: Sequence[Target], report: Report, say: Callable[[str], object]) -> None:
    for target in targets:
        _check(target)
    before = {target.name: target.rss_bytes() for target in targets}
    for number in range(1, plan.rounds + 1):
        say(f"round {number} of {plan.rounds} …")
        for case in plan.cases:
            for target in targets:
                report.rounds.append(_round(number, case, target, plan.seconds))
    report.memory = {target.name: Memory(before=before[target.name], after=target.rss_bytes()) for target in targets}


def _check(target: Target) -> None:
    """Raise RunFailed when ``target`` does not answer as it should: a broken target is quick."""
    for case in (Case(connections=1), Case(connections=1, stream=True, tokens=STREAM_TOKENS)):
        found = _round(0, case, target, CHECK_SECONDS).measurement
        if found.failed or not found.done:
            raise RunFailed(f"{target.name} does not answer ({case.name}), its log says more: {found.error}")


def _round(number: int, case: Case, target: Target, seconds: float) -> Round:
    used = target.cpu_seconds()
    job = Job(url=target.url, api_key=target.api_key, model=target.model, seconds=seconds, **asdict(case))
    measurement = measure(job)
    return Round(
        case=case, target=target.name, number=number, measurement=measurement, cpu_seconds=target.cpu_seconds() - used
    )


def _about(plan: Plan, targets: Sequence[Target]) -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": psutil.cpu_count(),
        "load_before": psutil.getloadavg()[0],
        "targets": ["stub", *(target.name for target in targets)],
        "litellm": f"{LITELLM}, the stub as an openai/ model" if len(targets) > 1 else None,
        "seconds": plan.seconds,
        "rounds": plan.rounds,
    }
