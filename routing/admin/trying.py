"""The page on which an administrator tries a prompt: who would answer, and what each rule says of it."""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from routing import features
from routing.admin.examples import ExpertForm
from routing.admin.parts import planned
from routing.backends.protocol import ChatRequest, Image, Message, ResponseFormat, Text
from routing.catalog import AUTO, Catalog, catalog
from routing.classifying import active, shared_classifying
from routing.decision import Decision
from routing.evaluation import supposing
from routing.exceptions import EndpointError
from routing.features import Asker, Features
from routing.judging import Verdict, judge
from routing.models import Expert, RouteExample
from routing.models.examples import Correction
from routing.models.rules import validate_texts
from routing.program.active import active as active_program
from routing.program.deciding import deciding_apart
from routing.router import Router
from routing.rules import Rule
from routing.ruleset import rules_all

LONGEST_IN_ADDRESS = 1500
"""Characters of a prompt that a link to this page may carry."""
_TOOL = {"type": "function", "function": {"name": "example", "parameters": {"type": "object", "properties": {}}}}


# --- what is tried ----------------------------------------------------------------------------------------------


class TextField(forms.CharField):
    """A text as a client would send it: browsers send the line ends of forms as two characters."""

    def __init__(self, *, rows: int, **kwargs: Any) -> None:
        super().__init__(strip=False, widget=forms.Textarea(attrs={"rows": rows, "cols": 100}), **kwargs)

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).replace("\r\n", "\n")


class ObjectField(forms.CharField):
    """A JSON object; it is shown again as it was typed."""

    widget = forms.Textarea(attrs={"rows": 2, "cols": 60})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            found = json.loads(text) if text else {}
            json.dumps(found, ensure_ascii=False).encode()  # half of a character could not be shown again
        except (ValueError, RecursionError) as error:
            raise ValidationError(f"This is no JSON: {error}.") from error
        if not isinstance(found, dict):
            raise ValidationError('Enter a JSON object, such as {"x-team": "legal"}.')
        return found


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


@transaction.atomic
def example_keep(prompt: str, expert: Expert, *, user: Any) -> Correction:
    """Make ``prompt`` an example for ``expert``: one written here, or the correction of one there was."""
    correction = RouteExample.objects.correct(prompt, expert, user=user)
    if correction.before is None:
        correction.example.source = RouteExample.Source.CURATED
        correction.example.save(update_fields=["source"])
    return correction


# --- the page ---------------------------------------------------------------------------------------------------


class TryPages(admin.ModelAdmin):
    """The page beside the list of rules on which a prompt is tried."""

    def get_urls(self) -> list[URLPattern]:
        return [path("try/", self.admin_site.admin_view(self.try_view), name="routing_try"), *super().get_urls()]

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """Show who would answer what is posted; "do" example also keeps the prompt as an example."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        profiles = {slug: f"{profile.name or slug} ({slug})" for slug, profile in catalog.get().profiles.items()}
        if request.method != "POST":
            prompt = request.GET.get("prompt", "")[:LONGEST_IN_ADDRESS].replace("\0", "")
            initial = {"prompt": prompt, "profile": request.GET.get("profile", AUTO)}
            return self._try_page(request, TrialForm(initial=initial, profiles=profiles), None)
        form = TrialForm(request.POST, profiles=profiles)
        if not form.is_valid():
            return self._try_page(request, form, None)
        if request.POST.get("do") == "example":
            self._keep_example(request, form.cleaned_data["prompt"])
        try:
            return self._try_page(request, form, tried(form))
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return self._try_page(request, form, None)

    def _may_keep_examples(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.add_routeexample")

    def _keep_example(self, request: HttpRequest, prompt: str) -> None:
        if not self._may_keep_examples(request):
            raise PermissionDenied
        form = ExpertForm(request.POST)
        if not form.is_valid():
            self.message_user(request, "Choose the expert that should have answered.", messages.ERROR)
            return
        correction = example_keep(prompt, form.cleaned_data["expert"], user=request.user)
        if correction.before is None:
            self.log_addition(request, correction.example, "Tried a prompt.")
        elif correction.before != correction.example.expert:
            self.log_change(request, correction.example, "Tried a prompt.")
        self.message_user(request, str(correction), messages.SUCCESS)

    def _try_page(self, request: HttpRequest, form: TrialForm, trial: Trial | None) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": "Try a prompt",
            "opts": self.opts,
            "form": form,
            "trial": trial,
            "may_evaluate": request.user.has_perm("routing.view_classifierversion"),
        }
        if trial is not None and self._may_keep_examples(request):
            expert = trial.example.expert if trial.example else None
            context["correction"] = ExpertForm(initial={"expert": expert})
        return TemplateResponse(request, "admin/routing/routingrule/try.html", context)
