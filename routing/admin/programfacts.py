"""What was measured of a program, as pages show it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from routing.admin.measured import mapping, shown
from routing.models import RouterProgram
from routing.program.measuring import verdict
from routing.program.versions import Gain, gains

_COMPARED = {
    "classifier": "The classifier alone",
    "program": "The program alone, without a limit of time",
    "stage": "Both, as in production",
}
_TIMES = {
    "ms_median": "A request waits, at the median",
    "ms_p95": "95 % wait at most",
    "unhurried_ms_median": "Without a limit of time, at the median",
}
_SHARES = {"in_time": "In time", "accepted": "Followed", "abstained": "Abstained", "failed": "Failed"}


def facts(version: RouterProgram) -> list[tuple[str, str]]:
    """Return what there is to say of a version, title and text; whatever is missing or of another shape is left out."""
    metrics = mapping(version.metrics)
    return [
        *_accuracies(metrics),
        *((f"Better than {gain.over}", gained(gain)) for gain in gains(version)),
        *_times(metrics),
        *_compiling(metrics),
    ]


def gained(gain: Gain) -> str:
    """Return a difference with its interval and what that says."""
    numbers = gain.numbers
    low, high = numbers["interval"]
    return (
        f"{100 * numbers['difference']:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}, on "
        f"{numbers['count']} examples: {verdict(numbers)}"
    )


def _accuracies(metrics: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if "count" in metrics:
        own = metrics.get("held_out_own")
        yield "Held-out examples", f"{metrics['count']}" + (f", {own} of them your own" if own is not None else "")
    for name, title in _COMPARED.items():
        numbers = mapping(metrics.get(name))
        if "accuracy" in numbers:
            interval = shown("accuracy", numbers.get("accuracy_interval"))
            yield title, f"{shown('accuracy', numbers['accuracy'])} right, 95 % interval {interval}"


def _times(metrics: dict[str, Any]) -> Iterable[tuple[str, str]]:
    shares = mapping(metrics.get("shares"))
    for name, title in _SHARES.items():
        if name in shares:
            yield title, shown("accuracy", shares[name])
    for name, title in _TIMES.items():
        if isinstance(metrics.get(name), int | float):
            yield title, f"{metrics[name]:.0f} ms"
    for name, title in (("prompt_tokens", "Tokens read, on average"), ("completion_tokens", "Tokens written")):
        if isinstance(metrics.get(name), int | float):
            yield title, f"{metrics[name]:.0f}"


def _compiling(metrics: dict[str, Any]) -> Iterable[tuple[str, str]]:
    training = mapping(metrics.get("training"))
    if "count" in training:
        yield "Compiled with", f"{training['count']} examples, {training.get('own', 0)} of them your own"
    if "candidates" in training:
        early = ", ended before it was through" if training.get("ended_early") else ""
        yield "Programs tried", f"{training['candidates']}{early}"
    if training.get("trouble"):
        yield "The optimizer could not go on", str(training["trouble"])
    if isinstance(metrics.get("seconds"), int | float):
        yield "Took", f"{metrics['seconds']:.0f} s"
