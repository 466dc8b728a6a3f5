"""How good the whole router is on prompts with known experts, as it runs in production."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from routing.backends.protocol import ChatRequest, Message, ServerAddress, ServerKind, Text
from routing.catalog import AUTO, Catalog, Expert, Replica
from routing.classifier import measures
from routing.classifier.training import Example
from routing.classifying import Active, Classifying, shared_classifying, shared_embedder
from routing.decision import Decision
from routing.program.deciding import Deciding
from routing.router import Router

STAND_IN = Replica(
    server=ServerAddress(name="nowhere", kind=ServerKind.OLLAMA, base_url=""), embedded=False, model="any"
)
"""Where an expert without a replica would run: an evaluation asks who should answer, and nobody answers."""


class BadExamples(ValueError):
    """A file of examples cannot be used; the message says why and where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    prompt: str
    expert: str
    language: str = ""
    source: str = ""


def labelled_read(path: Path) -> list[Labelled]:
    """Return the lines of a JSONL file as ``labelled_lines`` does; raises BadExamples."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            return labelled_lines(lines, str(path))
    except OSError as error:
        raise BadExamples(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadExamples(f"{path} is not UTF-8: {error.reason} at byte {error.start}.") from error


def labelled_lines(lines: Iterable[str], where: str) -> list[Labelled]:
    """Return JSON lines: "prompt", "label" (or "expert"), and "lang", "source" if they are there.

    ``where`` names them in errors. Raises BadExamples.
    """
    found = [_labelled(line, f"{where}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise BadExamples(f'{where} holds no line. Each should be {{"prompt": "…", "label": "…"}}.')
    return found


def _labelled(line: str, where: str) -> Labelled:
    try:
        row = json.loads(line)
        prompt, expert = row["prompt"], row.get("label") or row["expert"]
        if not isinstance(prompt, str) or not isinstance(expert, str):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadExamples(f'{where}: each line should be {{"prompt": "…", "label": "…"}}.') from error
    language, source = row.get("lang") or "", row.get("source") or ""
    return Labelled(prompt=prompt, expert=expert, language=str(language), source=str(source))


def competing(catalog: Catalog, slugs: Iterable[str]) -> Catalog:
    """Return ``catalog`` with the experts of ``slugs`` alone, each able to answer; raises BadExamples."""
    slugs = set(slugs)
    if missing := sorted(slugs - catalog.experts.keys()):
        there = ", ".join(catalog.experts)
        raise BadExamples(f"There is no enabled expert {', '.join(missing)}. There are: {there}.")
    experts = {slug: answering(expert) for slug, expert in catalog.experts.items() if slug in slugs}
    return replace(
        catalog,
        experts=experts,
        models={},
        rules=tuple(rule for rule in catalog.rules if rule.expert is None or rule.expert in slugs),
        default=catalog.default if catalog.default in slugs else next(iter(experts)),
    )


def answering(expert: Expert) -> Expert:
    """Return ``expert`` with a replica to run on, be it a stand-in."""
    return expert if expert.replicas else replace(expert, replicas=(STAND_IN,))


def supposing(catalog: Catalog) -> tuple[Catalog, str]:
    """Return ``catalog`` with experts that can answer, and what was supposed for it ("" where nothing was)."""
    if catalog.models or any(expert.replicas for expert in catalog.experts.values()):
        return catalog, ""
    experts = {slug: answering(expert) for slug, expert in catalog.experts.items()}
    return replace(catalog, experts=experts), "No model server is known yet; decided as if every expert had one."


def trained_classifying(examples: Sequence[Example], *, remember: bool = False) -> Classifying:
    """Return a classifier of ``examples`` that is kept nowhere; ``remember`` keeps their embeddings."""
    from routing.versions import trained_of

    trained, _ = trained_of(examples, remember=remember)
    return classifying_of(Active(classifier=trained.classifier))


def classifying_of(now: Active) -> Classifying:
    """Return what asks this one classifier, whichever is active meanwhile."""

    async def get() -> Active:
        return now

    return Classifying(get, shared_embedder)


@dataclass(frozen=True, slots=True)
class Timed:
    """A decision and the milliseconds it took."""

    decision: Decision
    milliseconds: float


async def evaluate(
    rows: Sequence[Labelled],
    catalog: Catalog,
    *,
    classifying: Classifying | None = None,
    deciding: Deciding | None = None,
    profile: str = AUTO,
) -> dict[str, Any]:
    """Return what the router makes of ``rows``: how often it is right, where it fails, how sure and how quick it is.

    See ``decide_all``. Raises BadExamples.
    """
    timed = await decide_all(rows, catalog, classifying=classifying, deciding=deciding, profile=profile)
    return report_on(rows, timed)


async def decide_all(
    rows: Sequence[Labelled],
    catalog: Catalog,
    *,
    classifying: Classifying | None = None,
    deciding: Deciding | None = None,
    profile: str = AUTO,
) -> list[Timed]:
    """Return the decision on each of ``rows``, made one after the other once everything is loaded.

    Experts run nowhere, so load and price have no say. No program is asked but that of ``deciding``, whose own expert
    does run. Raises BadExamples.
    """
    if profile not in catalog.profiles:
        raise BadExamples(f"There is no profile {profile}. There are: {', '.join(catalog.profiles)}.")
    allowed = catalog.profiles[profile].experts
    if allowed and allowed.isdisjoint(catalog.experts):
        raise BadExamples(f"Profile {profile} lets none of {', '.join(catalog.experts)} answer. Use another profile.")
    classifying = classifying or shared_classifying()
    await classifying.warm()
    router = Router(classifying=classifying, deciding=deciding)
    found = []
    for row in rows:
        started = time.perf_counter()
        decision = await router.decide(_asked(profile, row.prompt), catalog)
        found.append(Timed(decision, (time.perf_counter() - started) * 1000))
    return found


def _asked(profile: str, prompt: str) -> ChatRequest:
    return ChatRequest(model=profile, messages=(Message(role="user", parts=(Text(text=prompt),)),))


def report_on(rows: Sequence[Labelled], timed: Sequence[Timed]) -> dict[str, Any]:
    """Return everything there is to say of decisions on ``rows``."""
    decisions = [one.decision for one in timed]
    times = [one.milliseconds for one in timed]
    truth = [row.expert for row in rows]
    chosen = [decision.expert.slug for decision in decisions]
    right = [one == other for one, other in zip(truth, chosen, strict=True)]
    confidence = [1.0 if decision.route == "rule" else decision.confidence or 0.0 for decision in decisions]
    sure = [decision.route == "rule" or decision.sure for decision in decisions]
    languages = [row.language or decision.language for row, decision in zip(rows, decisions, strict=True)]
    ordered = sorted(times)
    skipped: dict[str, int] = {}
    for decision in decisions:
        for reason in decision.skipped:
            skipped[reason] = skipped.get(reason, 0) + 1
    report: dict[str, Any] = {
        "count": len(rows),
        **measures.scores(truth, chosen),
        "ms_per_decision": statistics.fmean(times),
        "ms_median": statistics.median(times),
        "ms_p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "languages": measures.by(languages, truth, chosen),
        "stages": measures.by([stage_of(decision) for decision in decisions], truth, chosen),
        "calibration": measures.calibration(confidence, right),
        "coverage": {
            "decided": sum(sure) / len(sure),
            "right": sum(r for r, s in zip(right, sure, strict=True) if s) / (sum(sure) or 1),
        },
        "at_confidence": [measures.coverage(confidence, right, level / 100) for level in range(50, 100, 5)],
        "top_two": _within_top(rows, decisions, 2),
        "skipped": skipped,
    }
    if any(row.language for row in rows):
        other = [number for number, row in enumerate(rows) if row.language not in ("en", "")]
        report["not_english"] = _share([right[number] for number in other])
    if any(row.source for row in rows):
        report["sources"] = measures.by([row.source for row in rows], truth, chosen)
    return report


def stage_of(decision: Decision) -> str:
    """Return the stage that decided, and for the classifier which layer and whether it was sure."""
    if decision.route != "classifier":
        return decision.route
    result = next(stage.result for stage in reversed(decision.stages) if stage.name == "classifier")
    said = result.split(":")[0].split(",")[0]
    return f"classifier ({said}, {'sure' if decision.sure else 'unsure'})"


def _within_top(rows: Sequence[Labelled], decisions: Sequence[Decision], most: int) -> float:
    hits = 0
    for row, decision in zip(rows, decisions, strict=True):
        likely = sorted(decision.candidates, key=lambda candidate: -candidate.probability)[:most]
        hits += row.expert in ([candidate.expert for candidate in likely] or [decision.expert.slug])
    return hits / len(rows)


def _share(right: Sequence[bool]) -> Mapping[str, Any]:
    return {
        "count": len(right),
        "accuracy": sum(right) / len(right) if right else None,
        "interval": list(measures.wilson(sum(right), len(right))),
    }
