"""Recent decisions once more: whom they would go to under other settings, and how often that is right.

A decision can be replayed if its prompt was kept and tells all there was to decide by. What a client asked for by
name, chat clients' background jobs, turns of held conversations, and requests with images or tools are left out.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils import timezone

from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import Catalog, Profile
from routing.classifier.measures import paired, wilson
from routing.classifying import Classifying
from routing.evaluation import supposing
from routing.exceptions import EndpointError
from routing.features import Asker
from routing.models import DecisionRecord, Feedback, RouteExample
from routing.models.examples import prompt_digest
from routing.program.active import Program
from routing.program.deciding import deciding_apart
from routing.router import Router

USUAL_LIMIT = 500
NOBODY = "nobody"
"""Who a decision goes to that nobody can take any more."""
# Rows that are looked through for each that can be replayed, lest a table of explicit requests be read to its end.
_LOOKED_THROUGH = 20
_LEFT_OUT = {
    "explicit": "asked for by name",
    "task": "a chat client's background job",
    "held": "in a conversation that was held",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A decision as it was logged; ``label`` is who should have answered, "" where nobody said."""

    id: str
    at: dt.datetime
    profile: str
    prompt: str
    expert: str
    route: str
    key: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What can be replayed, the newest first, and how many decisions were left out, by reason.

    ``learnt`` is how many of the labels are of prompts that the classifier is trained with.
    """

    decisions: tuple[Kept, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    learnt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides: experts, profiles and rules, a classifier and a program; None leaves the last two out."""

    catalog: Catalog
    classifying: Classifying | None
    program: Program | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who would answer, the stage that says so, the id of the rule that does, and what could not be used."""

    expert: str
    route: str = ""
    rule: int | None = None
    skipped: tuple[str, ...] = ()


# --- what there is ----------------------------------------------------------------------------------------------


def decisions_kept(*, limit: int = USUAL_LIMIT, since: dt.datetime | None = None, profile: str = "") -> Past:
    """Return the last ``limit`` decisions that can be replayed, with their labels."""
    records = DecisionRecord.objects.exclude(prompt="")
    if since is not None:
        records = records.filter(created_at__gte=since)
    if profile:
        records = records.filter(asked=profile)
    columns = ("id", "created_at", "asked", "prompt", "expert", "route", "key_name", "why__needs")
    rows = records.order_by("-created_at").values_list(*columns)[: limit * _LOOKED_THROUGH]
    found: list[Kept] = []
    left_out: Counter[str] = Counter()
    for pk, at, asked, prompt, expert, route, key, needs in rows.iterator(chunk_size=500):
        reason = _LEFT_OUT.get(route) or ("with images or tools" if needs else "")
        if reason:
            left_out[reason] += 1
            continue
        found.append(Kept(id=pk, at=at, profile=asked, prompt=prompt, expert=expert, route=route, key=key))
        if len(found) == limit:
            break
    labels = Labels.read()
    return Past(
        decisions=tuple(replace(one, label=labels.of(one.prompt, one.id)) for one in found),
        left_out=dict(left_out),
        learnt=sum(prompt_digest(one.prompt) in labels.learnt for one in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Who is known to be right: by a decision's id, from corrections, and by a prompt's digest, from examples too.

    ``learnt`` are the digests of what the classifier is trained with.
    """

    by_decision: Mapping[str, str]
    by_digest: Mapping[str, str]
    learnt: frozenset[str]

    @classmethod
    def read(cls) -> Labels:
        """Read them; of what contradicts itself the newest counts, and an example more than a correction."""
        by_decision, by_digest = {}, {}
        said = Feedback.objects.corrections().order_by("id").values_list("decision", "prompt", "expert__slug")
        for decision, prompt, expert in said.iterator():
            by_decision[decision] = expert
            if prompt:
                by_digest[prompt_digest(prompt)] = expert
        examples = RouteExample.objects.usable().values_list("digest", "expert__slug", "split")
        learnt = set()
        for digest, expert, split in examples.iterator():
            by_digest[digest] = expert
            if split == RouteExample.Split.TRAINING:
                learnt.add(digest)
        return cls(by_decision=by_decision, by_digest=by_digest, learnt=frozenset(learnt))

    def of(self, prompt: str, decision: str = "") -> str:
        """Return who should answer, "" where nobody said."""
        return self.by_digest.get(prompt_digest(prompt)) or self.by_decision.get(decision, "")


# --- once more --------------------------------------------------------------------------------------------------


async def replay(decisions: Iterable[Kept], settings: Settings) -> list[Chosen]:
    """Return who each of ``decisions`` would go to, had it been made when it was; load has no say.

    A program is asked as requests ask it, within its time limit and of a model that is in memory.
    """
    catalog, _ = supposing(settings.catalog)
    if settings.classifying is not None:
        await settings.classifying.warm()
    if settings.program is None:
        router = Router(classifying=settings.classifying)
        return [await _chosen(router, one, catalog) for one in decisions]
    async with deciding_apart(settings.program) as deciding:
        router = Router(classifying=settings.classifying, deciding=deciding)
        return [await _chosen(router, one, catalog) for one in decisions]


async def _chosen(router: Router, one: Kept, catalog: Catalog) -> Chosen:
    # A profile that is gone is replayed as the usual one; nothing here is a conversation to keep.
    profile = catalog.profiles.get(one.profile) or Profile(slug=one.profile)
    known = replace(catalog, profiles={one.profile: replace(profile, sticky=False)})
    request = ChatRequest(model=one.profile, messages=(Message(role="user", parts=(Text(text=one.prompt),)),))
    try:
        decision = await router.decide(
            request, known, asker=Asker(key=one.key, tenant=one.key), now=timezone.localtime(one.at)
        )
    except EndpointError:
        return Chosen(NOBODY)
    by = decision.outcome.by if decision.route == "rule" else None
    return Chosen(decision.expert.slug, decision.route, by.id if by else None, decision.skipped)


# --- what it comes to -------------------------------------------------------------------------------------------


def moves(decisions: Sequence[Kept], before: Sequence[str], after: Sequence[str]) -> list[dict[str, Any]]:
    """Return who would lose decisions to whom, the most first, and for how many that is known to be right or wrong.

    ``right`` went to whom they should only afterwards, ``wrong`` only before.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one, old, new in zip(decisions, before, after, strict=True):
        if old == new:
            continue
        start = {"from": old, "to": new, "count": 0, "right": 0, "wrong": 0, "decisions": []}
        row = rows.setdefault((old, new), start)
        row["count"] += 1
        row["right"] += one.label == new
        row["wrong"] += one.label == old
        row["decisions"].append(one.id)
    return sorted(rows.values(), key=lambda row: -row["count"])


def share(right: Sequence[bool]) -> dict[str, Any]:
    """Return how many there are, how many are right, and which share that is, with its interval."""
    count, hits = len(right), sum(right)
    low, high = wilson(hits, count)
    return {
        "count": count,
        "right": hits,
        "accuracy": hits / count if count else None,
        "interval": [max(0.0, low), min(1.0, high)],  # rounding takes them a little beyond
    }


def compared(decisions: Sequence[Kept], chosen: Sequence[Chosen], catalog: Catalog) -> dict[str, Any]:
    """Return what changes against the log, and how right that is beside what would be right without any thought.

    The best single expert is the one that is right most often on these very decisions, which flatters it; random is
    what is to be expected of an even choice among those the profile lets answer.
    """
    logged = [one.expert for one in decisions]
    after = [one.expert for one in chosen]
    labelled = [place for place, one in enumerate(decisions) if one.label]
    truth = [decisions[place].label for place in labelled]
    was_right = [logged[place] == label for place, label in zip(labelled, truth, strict=True)]
    is_right = [after[place] == label for place, label in zip(labelled, truth, strict=True)]
    best = Counter(truth).most_common(1)[0][0] if truth else ""
    return {
        "decisions": len(decisions),
        "changed": sum(one != other for one, other in zip(logged, after, strict=True)),
        "moves": moves(decisions, logged, after),
        "routes": {
            "logged": dict(Counter(one.route for one in decisions).most_common()),
            "candidate": dict(Counter(one.route or NOBODY for one in chosen).most_common()),
        },
        "skipped": dict(Counter(reason for one in chosen for reason in one.skipped).most_common()),
        "labelled": len(labelled),
        "unlabelled": len(decisions) - len(labelled),
        "accuracy": {
            "logged": share(was_right),
            "candidate": share(is_right),
            "best_single": share([label == best for label in truth]) | {"expert": best or None},
            "random": _at_random([decisions[place] for place in labelled], catalog),
        },
        "paired": paired(was_right, is_right),
    }


def _at_random(labelled: Sequence[Kept], catalog: Catalog) -> dict[str, Any]:
    chances = []
    for one in labelled:
        profile = catalog.profiles.get(one.profile)
        allowed = (profile.experts if profile else frozenset()) or catalog.experts.keys()
        chances.append(1 / len(allowed) if one.label in allowed else 0.0)
    return {"count": len(labelled), "accuracy": sum(chances) / len(chances) if chances else None}
