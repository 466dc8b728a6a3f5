"""A prompt that is tried: how it would be asked, and what the router and each rule say of it."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from routing import features
from routing.admin.fields import ObjectField, TextField
from routing.admin.parts import planned
from routing.backends.protocol import ChatRequest, Image, Message, ResponseFormat, Text
from routing.catalog import Catalog, catalog
from routing.classifying import active, shared_classifying
from routing.decision import Decision
from routing.evaluation import supposing
from routing.features import Asker, Features
from routing.judging import Verdict, judge
from routing.models import RouteExample
from routing.models.rules import validate_texts
from routing.program.active import active as active_program
from routing.program.deciding import deciding_apart
from routing.router import Router
from routing.rules import Rule
from routing.ruleset import rules_all

_TOOL = {"type": "function", "function": {"name": "example", "parameters": {"type": "object", "properties": {}}}}


# --- what is tried ----------------------------------------------------------------------------------------------


class TrialForm(forms.Form):
    prompt = TextField(rows=8, help_text="As a user would send it.")
    profile = forms.ChoiceField(help_text="What the client asks for as its model.")
    earlier = TextField(
        rows=4, required=False, label="Earlier turns", help_text="What the user said before; a line of --- between two."
    )
    has_images = forms.BooleanField(required=False, label="With an image")
    has_tools = forms.BooleanField(required=False, label="With tools")
    wants_json = forms.BooleanField(required=False, label="JSON wanted")
    language = forms.CharField(
        required=False,
        max_length=8,
        help_text="A code such as <i>de</i>: rules are tried as if the prompt were in it. Empty: as it is recognised.",
    )
    key = forms.CharField(required=False, label="API key", help_text="As if asked with the key of this name.")
    group = forms.CharField(required=False, help_text="As if the key belonged to this group.")
    headers = ObjectField(required=False, help_text='For example {"x-team": "legal"}.')
    metadata = ObjectField(required=False, help_text='For example {"project": "atlas"}.')
    at = forms.DateTimeField(
        required=False,
        label="Date and time",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="For time windows, in the server's time zone. Empty: now.",
    )

    def __init__(self, *args: Any, profiles: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        profile = self.fields["profile"]
        assert isinstance(profile, forms.ChoiceField)
        profile.choices = list(profiles.items())

    def clean_prompt(self) -> str:
        prompt: str = self.cleaned_data["prompt"]
        if not prompt.strip():
            raise ValidationError("Enter what a user would send.")
        return prompt

    def clean_language(self) -> str:
        return str(self.cleaned_data["language"]).lower()

    def clean_headers(self) -> dict[str, str]:
        headers: dict[str, str] = self.cleaned_data["headers"]
        validate_texts(headers)
        return {name.lower(): value for name, value in headers.items()}

    @property
    def more_is_open(self) -> bool:
        """Whether what is seldom needed was used, or is wrong."""
        names = ("language", "key", "group", "headers", "metadata", "at", "earlier")
        return any(self.errors.get(name) or (self.is_bound and self[name].value()) for name in names)

    def request(self) -> ChatRequest:
        found = self.cleaned_data
        parts: tuple[Text | Image, ...] = (Text(text=found["prompt"]),)
        if found["has_images"]:
            parts = (*parts, Image(data="", mime="image/png"))
        earlier = (Message(role="user", parts=(Text(text=turn),)) for turn in turns_of(found["earlier"]))
        return ChatRequest(
            model=found["profile"],
            messages=(*earlier, Message(role="user", parts=parts)),
            tools=(_TOOL,) if found["has_tools"] else (),
            response_format=ResponseFormat(kind="json_object") if found["wants_json"] else None,
            metadata=found["metadata"],
        )

    def asker(self) -> Asker:
        found = self.cleaned_data
        return Asker(key=found["key"], group=found["group"], headers=found["headers"])

    def now(self) -> dt.datetime:
        return timezone.localtime(self.cleaned_data["at"])


def turns_of(text: str) -> list[str]:
    """Return the turns of ``text``, between which stand lines of three hyphens or more."""
    turns: list[str] = []
    lines: list[str] = []
    for line in [*text.split("\n"), "---"]:
        if len(line.strip()) >= 3 and not line.strip().strip("-"):
            turns.append("\n".join(lines).strip())
            lines = []
        else:
            lines.append(line)
    return [turn for turn in turns if turn]


# --- what comes of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrial:
    """What a rule says of the prompt; ``off`` is why it has no say as things are, "" where it has one."""

    rule: Rule
    verdict: str
    reason: str
    off: str = ""
    applied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the router would do; ``system`` is the system text the model would be given, ``sampling`` how it is set.

    ``example`` is the example that the prompt is already, if it is one.
    """

    decision: Decision
    note: str
    rules: tuple[RuleTrial, ...]
    system: str
    sampling: Mapping[str, Any]
    example: RouteExample | None

    @property
    def candidates(self) -> list[tuple[str, str, str]]:
        """Return experts with their probability, as a bar's width and in words; the one to choose first."""
        return [
            (one.expert, f"{100 * one.probability:.0f}", f"{one.probability:.1%}") for one in self.decision.candidates
        ]

    @property
    def plan(self) -> str:
        return planned(self.decision.plan.explained()) if self.decision.plan else ""

    @property
    def stages(self) -> list[tuple[str, str, str]]:
        return [(stage.name, f"{stage.milliseconds:.2f} ms", stage.result) for stage in self.decision.stages]

    @property
    def took(self) -> str:
        return f"{self.decision.milliseconds:.2f} ms"


def tried(form: TrialForm) -> Trial:
    """Decide what ``form`` asks, and store nothing. Raises what ``Router.decide`` does."""
    known, note = supposing(catalog.get())
    request, asker, now = form.request(), form.asker(), form.now()
    language = form.cleaned_data["language"]
    for snapshot in (active, active_program):
        snapshot.get()  # read here, where the database may be asked
    decision = async_to_sync(_decided)(request, _speaking(known, language), asker=asker, now=now)
    seen = features.extract(request)
    if language:
        seen = replace(seen, language=language)
        decision = replace(decision, language=language)
    applied = decision.applied_to(request)
    says = (message.text for message in applied.messages if message.role == "system")
    return Trial(
        decision=decision,
        note=note,
        rules=tuple(_rule_trials(decision, seen, asker, request, now, known)),
        system=next(says, decision.expert.system_prompt),
        sampling={**decision.expert.defaults, **decision.outcome.overrides},
        example=RouteExample.objects.of(form.cleaned_data["prompt"]),
    )


async def _decided(request: ChatRequest, known: Catalog, *, asker: Asker, now: dt.datetime) -> Decision:
    """Decide with memories of its own: no conversation is moved, and the program is asked anew."""
    async with deciding_apart() as deciding:
        router = Router(classifying=shared_classifying(), deciding=deciding)
        return await router.decide(request, known, asker=asker, now=now)


def _speaking(known: Catalog, language: str) -> Catalog:
    """Return ``known`` with its rules as they are for a prompt in ``language``, whatever it seems to be in."""
    if not language:
        return known
    fitting = (rule for rule in known.rules if not rule.languages or language in rule.compiled.languages)
    return replace(known, rules=tuple(replace(rule, languages=()) for rule in fitting))


def _rule_trials(
    decision: Decision, seen: Features, asker: Asker, request: ChatRequest, now: dt.datetime, known: Catalog
) -> list[RuleTrial]:
    """Return what every rule says, in their order; one that is off is judged by itself and decided nothing."""
    verdicts = {verdict.rule.id: verdict for verdict in decision.outcome.verdicts}
    in_use = {rule.id for rule in known.rules}
    found = []
    for rule in rules_all():
        profile = decision.profile.slug if decision.profile else ""
        alone = judge(replace(rule, enabled=True), seen, asker, request.metadata, profile, now)
        if rule.id not in in_use:
            found.append(_by_itself(rule, alone, _off(rule, known)))
        elif rule.id in verdicts:
            found.append(_judged(rule, alone, verdicts[rule.id]))
        else:
            found.append(_by_itself(rule, alone, "" if verdicts or not alone.fits else "rules were not asked"))
    return found


def _off(rule: Rule, known: Catalog) -> str:
    if not rule.enabled:
        return "disabled"
    if rule.expert and rule.expert not in known.experts:
        return "its expert is disabled"
    return "new, and not known here yet; try again"


def _by_itself(rule: Rule, alone: Verdict, off: str) -> RuleTrial:
    would = "would fit" if alone.fits else "would not fit"
    verdict = would if off else "fits" if alone.fits else "does not fit"
    return RuleTrial(rule=rule, verdict=verdict, reason=alone.reason, off=off)


def _judged(rule: Rule, alone: Verdict, verdict: Verdict) -> RuleTrial:
    if verdict.fits:
        reason = verdict.reason if verdict.reason.startswith(alone.reason) else f"{alone.reason} ({verdict.reason})"
        words = "fits" if verdict.applied else "fits, but was passed over"
        return RuleTrial(rule=rule, verdict=words, reason=reason, applied=verdict.applied)
    if alone.fits:  # an earlier one stopped
        return RuleTrial(rule=rule, verdict="would fit", reason=f"{verdict.reason}; {alone.reason}")
    return RuleTrial(rule=rule, verdict="does not fit", reason=alone.reason)
