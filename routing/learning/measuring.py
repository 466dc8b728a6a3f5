"""What a change would do: to the last decisions, and to prompts whose expert is known.

Nothing is written. A training takes about 20 s for 4,000 examples; a change of examples takes three, as its own
corrections are measured by classifiers that have learnt the other half of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from asgiref.sync import async_to_sync
from django.utils import timezone

from routing import catalog as catalogs
from routing import classifying as classifiers
from routing.catalog import AUTO
from routing.classifier.measures import paired
from routing.classifier.training import Example
from routing.evaluation import answering, classifying_of, trained_classifying
from routing.models import Feedback, RouteExample
from routing.models.examples import prompt_digest
from routing.replaying import Chosen, Kept, Labels, Settings, decisions_kept, moves, replay, share
from routing.rules import Rule

MOST_EVALUATION, MOST_OTHERS = 500, 200
FOLDS = 2
SHOWN = 5
"""Decisions that are named of each move."""
PARTS = ("evaluation", "others", "own")
"""Examples for evaluation, corrections of other kinds, and those that speak for the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A prompt whose expert is known, and the part it belongs to."""

    part: str
    kept: Kept


def settings_now() -> Settings:
    """Return the settings as they are in the database."""
    return Settings(catalog=catalogs.load(), classifying=classifying_of(classifiers.load()))


def with_rule(settings: Settings, rule: Rule) -> Settings:
    """Return ``settings`` with one more rule, in its place."""
    rules = sorted((*settings.catalog.rules, rule), key=lambda one: (one.priority, one.id))
    return dataclasses.replace(settings, catalog=dataclasses.replace(settings.catalog, rules=tuple(rules)))


def with_examples(
    settings: Settings, prompts: Mapping[str, str], *, without: AbstractSet[str] = frozenset()
) -> Settings:
    """Return ``settings`` with a classifier that has learnt ``prompts`` (with their experts) too.

    ``without`` are digests of prompts that it has not learnt. Raises TooFewExamples.
    """
    from routing.versions import examples_read

    left_out = without | {prompt_digest(prompt) for prompt in prompts}
    known = [example for example in examples_read() if prompt_digest(example.prompt) not in left_out]
    more = [
        Example(prompt=prompt, expert=expert)
        for prompt, expert in prompts.items()
        if prompt_digest(prompt) not in without
    ]
    # The first of several trainings keeps the embeddings, for the others and for the one that follows acceptance.
    return dataclasses.replace(settings, classifying=trained_classifying([*known, *more], remember=not without))


# --- prompts whose expert is known ------------------------------------------------------------------------------


def labelled_read(own: Sequence[Feedback]) -> list[Labelled]:
    """Return the prompts whose expert is known, each once; what the classifier has learnt is left out, save ``own``."""
    labels = Labels.read()
    found: dict[str, Labelled] = {}

    def add(part: str, prompt: str, expert: str) -> None:
        kept = Kept(id="", at=timezone.now(), profile=AUTO, prompt=prompt, expert="", route="", label=expert)
        found.setdefault(prompt_digest(prompt), Labelled(part=part, kept=kept))

    for one in own:
        if one.expert and one.prompt:
            add("own", one.prompt, one.expert.slug)
    for prompt, expert in RouteExample.objects.evaluation().values_list("prompt", "expert__slug")[:MOST_EVALUATION]:
        add("evaluation", prompt, expert)
    others = Feedback.objects.learnable().values_list("prompt", "expert__slug")[:MOST_OTHERS]
    for prompt, expert in others:
        if prompt_digest(prompt) not in labels.learnt:
            add("others", prompt, expert)
    return list(found.values())


def evaluated(rows: Sequence[Labelled], settings: Settings) -> list[bool]:
    """Return which of ``rows`` are decided rightly; every expert is taken to be there."""
    experts = {slug: answering(expert) for slug, expert in settings.catalog.experts.items()}
    there = dataclasses.replace(settings, catalog=dataclasses.replace(settings.catalog, experts=experts))
    chosen = replayed([row.kept for row in rows], there)
    return [one.expert == row.kept.label for one, row in zip(chosen, rows, strict=True)]


def evaluation(rows: Sequence[Labelled], right: Sequence[bool]) -> dict[str, Any]:
    """Return how many of ``rows`` were decided rightly, by part and in all."""
    parts = {
        part: share([hit for row, hit in zip(rows, right, strict=True) if row.part == part])
        for part in PARTS
        if any(row.part == part for row in rows)
    }
    return {"at": timezone.now().isoformat(timespec="seconds"), "parts": parts, "all": share(right)}


def evaluation_of(settings: Settings, own: Sequence[Feedback]) -> dict[str, Any]:
    """Return how right ``settings`` are on the prompts whose expert is known."""
    rows = labelled_read(own)
    return evaluation(rows, evaluated(rows, settings))


def replayed(decisions: Sequence[Kept], settings: Settings) -> list[Chosen]:
    # In a loop of its own: one that serves must not wait for hundreds of decisions.
    found: list[Chosen] = async_to_sync(replay, force_new_loop=True)(decisions, settings)
    return found


# --- effects ----------------------------------------------------------------------------------------------------


def rule_effect(rule: Rule, own: Sequence[Feedback]) -> dict[str, Any]:
    """Return what ``rule`` would change."""
    now = settings_now()
    rows = labelled_read(own)
    candidate = with_rule(now, rule)
    return _effect(now, candidate, own, rows, evaluated(rows, candidate))


def examples_effect(prompts: Mapping[str, str], own: Sequence[Feedback]) -> dict[str, Any]:
    """Return what it would change to learn ``prompts`` with their experts; raises TooFewExamples."""
    now = settings_now()
    rows = labelled_read(own)
    candidate = with_examples(now, prompts)
    right = evaluated(rows, candidate)
    places = [place for place, row in enumerate(rows) if row.part == "own"]
    for fold in range(FOLDS):
        if not (inside := places[fold::FOLDS]):
            continue
        tested = {prompt_digest(rows[place].kept.prompt) for place in inside}
        found = evaluated([rows[place] for place in inside], with_examples(now, prompts, without=tested))
        for place, hit in zip(inside, found, strict=True):
            right[place] = hit
    return _effect(now, candidate, own, rows, right)


def _effect(
    now: Settings, candidate: Settings, own: Sequence[Feedback], rows: Sequence[Labelled], right_then: Sequence[bool]
) -> dict[str, Any]:
    past = decisions_kept()
    before = replayed(past.decisions, now)
    after = replayed(past.decisions, candidate)
    right_now = evaluated(rows, now)
    pairs = paired(right_now, right_then)
    corrected = {one.decision for one in own}
    changed = moves(past.decisions, [one.expert for one in before], [one.expert for one in after])
    for move in changed:
        inside = move.pop("decisions")
        move["corrected"] = sum(decision in corrected for decision in inside)
        # By name: their texts are kept no longer than the decisions are.
        move["shown"] = sorted(inside, key=lambda decision: decision in corrected)[:SHOWN]
    return {
        "at": timezone.now().isoformat(timespec="seconds"),
        "decisions": len(past.decisions),
        "left_out": dict(past.left_out),
        "changed": sum(move["count"] for move in changed),
        "moves": changed,
        "before": evaluation(rows, right_now),
        "after": evaluation(rows, right_then),
        "paired": pairs,
        "worse": pairs["lost"] > pairs["gained"],
    }
