"""What corrections of one kind speak for: a rule where a short condition describes them, else examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Max

from routing.catalog import AUTO
from routing.learning.conditions import Condition, Described, describing
from routing.learning.measuring import examples_effect, replayed, rule_effect, settings_now
from routing.models import DecisionRecord, Expert, Feedback, Proposal, RouteExample, RoutingRule
from routing.models.examples import prompt_digest
from routing.replaying import Kept, Labels, decisions_kept
from routing.rules import Rule

AFTER_ALL_RULES = 10
MOST_OTHERS = 5_000
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A rule (where ``described``) or examples for ``expert``, for which ``corrections`` of ``was`` speak.

    ``prompts`` are those of the corrections that are no examples for the expert yet, with its slug; ``moved`` is how
    many of them are examples for others.
    """

    was: str
    expert: Expert
    corrections: tuple[Feedback, ...]
    prompts: Mapping[str, str]
    moved: int = 0
    described: Described | None = None
    priority: int = 0

    @property
    def kind(self) -> Proposal.Kind:
        return Proposal.Kind.RULE if self.described else Proposal.Kind.EXAMPLES

    @property
    def signature(self) -> str:
        """Return what tells this change from others, whichever corrections spoke for it."""
        if self.described:
            what: Any = self.described.condition.fields()
        else:
            what = sorted(map(prompt_digest, self.prompts))
        text = json.dumps([self.kind.value, self.expert.slug, what], ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def summary(self) -> str:
        count = f"{len(self.corrections)} correction{'' if len(self.corrections) == 1 else 's'}"
        if self.described:
            return f"Send prompts with {self.described.condition} to {self.expert} ({count} of {self.was})"
        learnt = f"{len(self.prompts)} corrected prompt{'' if len(self.prompts) == 1 else 's'}"
        return f"Learn {learnt} as examples for {self.expert} ({count} of {self.was})"

    def content(self) -> dict[str, Any]:
        """Return what the row keeps. Prompts are named by their corrections, which are deleted when they are old."""
        content: dict[str, Any] = {"corrections": [one.pk for one in self.corrections]}
        if not self.described:
            content["moved"] = self.moved
        else:
            found = self.described
            content |= found.condition.fields() | {"priority": self.priority}
            content |= {"fits": found.fits, "of": found.of, "strays": found.strays, "others": found.others}
        return content

    def effect(self) -> dict[str, Any]:
        """Measure it; raises TooFewExamples where a classifier cannot be trained."""
        if self.described:
            return rule_effect(rule_of(self.content(), self.expert, self.summary), self.corrections)
        return examples_effect(self.prompts, self.corrections)


def change_for(corrections: Sequence[Feedback], *, was: str, taken: Collection[str] = ()) -> Change | None:
    """Return what ``corrections`` of one kind speak for, None where nothing is left.

    ``was`` is what those are called whose decisions they correct; ``taken`` are signatures of what was dismissed, or is
    proposed or in force already.
    """
    first = corrections[0]
    assert first.expert is not None
    texts = {prompt_digest(one.prompt): one.prompt for one in corrections}
    known = RouteExample.objects.usable().filter(digest__in=texts)
    learnt = set(known.filter(expert=first.expert).values_list("digest", flat=True))
    change = Change(
        was=was,
        expert=first.expert,
        corrections=tuple(corrections),
        prompts={text: first.expert.slug for digest, text in texts.items() if digest not in learnt},
        moved=known.exclude(expert=first.expert).count(),
    )
    return _as_rule(change, list(texts.values()), taken) or (
        change if change.prompts and change.signature not in taken else None
    )


def _as_rule(change: Change, texts: Sequence[str], taken: Collection[str]) -> Change | None:
    for described in describing(texts, prompts_beside(change)):
        found = replace(change, described=described)
        if found.signature not in taken:
            return replace(found, priority=_place(change))
    return None


def prompts_beside(change: Change) -> list[str]:
    """Return prompts that should stay where they are: recent decisions and examples, none of them for the expert."""
    slug = change.expert.slug
    labels = Labels.read()
    own = {one.decision for one in change.corrections} | {prompt_digest(one.prompt) for one in change.corrections}
    recent = [
        one.prompt
        for one in decisions_kept().decisions
        if slug not in (one.expert, one.label) and one.id not in own and prompt_digest(one.prompt) not in own
    ]
    examples = RouteExample.objects.usable().exclude(expert=change.expert).exclude(digest__in=own)
    others = list(examples.order_by("-id").values_list("prompt", flat=True)[:MOST_OTHERS])
    corrected = Feedback.objects.learnable().exclude(expert=change.expert).values_list("prompt", flat=True)
    return [*recent, *others, *(text for text in corrected[:MOST_OTHERS] if labels.of(text) != slug)]


def _place(change: Change) -> int:
    """Return the priority that the rule needs: after all others, but before those that decide its corrections now."""
    pks = [one.decision for one in change.corrections]
    asked = dict(DecisionRecord.objects.filter(pk__in=pks).values_list("pk", "asked"))
    decisions = [
        Kept(
            id=one.decision,
            at=one.created_at,
            profile=asked.get(one.decision, AUTO),
            prompt=one.prompt,
            expert=one.was,
            route="",
            key=one.key_name,
        )
        for one in change.corrections
    ]
    deciding = {found.rule for found in replayed(decisions, settings_now()) if found.rule is not None}
    rules = RoutingRule.objects.order_by("priority").values_list("priority", flat=True)
    first = rules.filter(pk__in=deciding).first()
    return max(0, first - 1) if first is not None else (rules.last() or 0) + AFTER_ALL_RULES


def rule_of(content: Mapping[str, Any], expert: Expert, name: str) -> Rule:
    """Return the rule that ``content`` describes, as the router would try it."""
    # New rows come after those of the same priority.
    last = RoutingRule.objects.aggregate(last=Max("pk"))["last"] or 0
    return Condition.of(content).rule(id=last + 1, name=name, priority=int(content["priority"]), expert=expert.slug)


def rule_row(content: Mapping[str, Any], expert: Expert, *, note: str) -> RoutingRule:
    """Return the row of that rule, not saved yet, under a name that is free."""
    condition = Condition.of(content)
    wanted = f"Corrections: {condition} → {expert.slug}"
    name, number = wanted[:_LONGEST_NAME], 2
    while RoutingRule.objects.filter(name=name).exists():
        ending = f" ({number})"
        name, number = f"{wanted[: _LONGEST_NAME - len(ending)]}{ending}", number + 1
    return RoutingRule(name=name, priority=int(content["priority"]), expert=expert, note=note, **condition.fields())
