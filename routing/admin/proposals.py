from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.figures import number, percent
from routing.admin.measured import mapping
from routing.admin.readonly import ReadOnly
from routing.learning.proposing import NotDecided, proposal_accept, proposal_dismiss
from routing.models import DecisionRecord, Feedback, Proposal

_SHOWN_CORRECTIONS, _SHOWN_CHARACTERS = 50, 120
_PARTS = {
    "evaluation": "Examples for evaluation",
    "others": "Other corrections",
    "own": "The corrections it is made of",
    "all": "All",
}
# What a person who accepts it must be allowed to make.
_MAKES = {Proposal.Kind.RULE: "routing.add_routingrule", Proposal.Kind.EXAMPLES: "routing.add_routeexample"}


class DecisionForm(forms.Form):
    """Whether a proposal is accepted or dismissed; ``signature`` is what the person saw of it."""

    reason = forms.CharField(
        required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3}), help_text="May be left empty."
    )
    signature = forms.CharField(widget=forms.HiddenInput)


@admin.register(Proposal)
class ProposalAdmin(ReadOnly):
    list_display = ("summary", "created_at", "kind", "was", "expert", "corrections", "effect_in_short", "status")
    list_filter = ("status", "kind", "expert", "was")
    list_select_related = ("expert",)
    ordering = ("-status", "-pk")  # those that are open first
    change_form_template = "admin/routing/proposal/change_form.html"
    fields = ("summary", "status", "kind", "was", "expert", "created_at", "decided_at", "decided_by", "reason", "rule")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Proposal]:
        found: QuerySet[Proposal] = super().get_queryset(request)
        return found.annotate(corrected=Count("corrections"))

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("routing.change_proposal")

    def has_accept_permission(self, request: HttpRequest, proposal: Proposal) -> bool:
        makes = _MAKES[Proposal.Kind(proposal.kind)]
        return self.has_decide_permission(request) and request.user.has_perm(makes)

    # --- columns

    @admin.display(description="corrections", ordering="corrected")
    def corrections(self, proposal: Any) -> int:
        return int(proposal.corrected)

    @admin.display(description="effect")
    def effect_in_short(self, proposal: Proposal) -> str:
        effect = mapping(proposal.effect)
        if problem := effect.get("problem"):
            return str(problem)
        if not effect:
            return "not measured"
        said = f"{effect.get('changed')} of {effect.get('decisions')} decisions move"
        return f"{said}; fewer would be right" if effect.get("worse") else said

    # --- the page

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Proposal"}
        proposal = self.get_object(request, object_id)
        if proposal is not None:
            waits = proposal.status == Proposal.Status.OPEN
            rows = list(proposal.corrections.select_related("user")[:_SHOWN_CORRECTIONS])
            context |= {
                "shown": shown_effect(proposal),
                "evaluations": evaluations(proposal),
                "corrections": [_correction(row) for row in rows],
                "more_corrections": proposal.corrections.count() - len(rows),
                "may_accept": waits and self.has_accept_permission(request, proposal),
                "may_dismiss": waits and self.has_decide_permission(request),
            }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    # --- deciding

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/accept/", view(self.accept_view), name="routing_proposal_accept"),
            path("<int:pk>/dismiss/", view(self.dismiss_view), name="routing_proposal_dismiss"),
            *super().get_urls(),
        ]

    def accept_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to put a proposal into force; a POST says yes."""
        proposal = self._proposal(request, pk)
        if not self.has_accept_permission(request, proposal):
            raise PermissionDenied
        return self._decide(request, proposal, "Accept", proposal_accept)

    def dismiss_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask whether to put a proposal aside; a POST says yes."""
        proposal = self._proposal(request, pk)
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return self._decide(request, proposal, "Dismiss", proposal_dismiss)

    def _proposal(self, request: HttpRequest, pk: int) -> Proposal:
        proposal: Proposal | None = self.get_object(request, str(pk))
        if proposal is None:
            raise Http404("There is no such proposal.")
        return proposal

    def _decide(
        self, request: HttpRequest, proposal: Proposal, what: str, work: Callable[..., Proposal]
    ) -> HttpResponse:
        form = DecisionForm(request.POST or None, initial={"signature": proposal.signature})
        if request.method != "POST" or not form.is_valid():
            context = self.admin_site.each_context(request) | {
                "title": f"{what} this proposal?",
                "opts": self.opts,
                "proposal": proposal,
                "form": form,
                "what": what,
                "effect": mapping(proposal.effect),
            }
            return TemplateResponse(request, "admin/routing/proposal/decide.html", context)
        try:
            done = work(proposal, user=request.user, **form.cleaned_data)
        except NotDecided as error:
            self.message_user(request, error.message, messages.ERROR)
        else:
            self.log_change(request, done, f"{done.get_status_display().capitalize()}.")
            if done.rule:
                self.log_addition(request, done.rule, f"From proposal {done.pk}.")
            self.message_user(request, _said(done), messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_proposal_change", args=[proposal.pk]))


def _said(proposal: Proposal) -> str:
    if proposal.status == Proposal.Status.DISMISSED:
        return "Dismissed. The same is not proposed again."
    if proposal.rule:
        return f"Accepted. The rule “{proposal.rule}” is in force; conversations under way keep their expert."
    return "Accepted. The prompts are examples now; the classifier is trained with them within minutes."


# --- what is shown ----------------------------------------------------------------------------------------------


def shown_effect(proposal: Proposal) -> dict[str, Any]:
    """Return the effect as the page shows it, with the prompts of decisions that are still kept."""
    effect, content = mapping(proposal.effect), mapping(proposal.content)
    moved = [mapping(move) for move in effect.get("moves") or ()]
    named = [pk for move in moved for pk in move.get("shown") or ()]
    prompts = dict(DecisionRecord.objects.filter(pk__in=named).values_list("pk", "prompt"))
    return {
        "effect": effect,
        "fit": content if "fits" in content else None,
        "moved": content.get("moved"),
        "paired": _paired(mapping(effect.get("paired"))),
        "moves": [
            move | {"prompts": [(pk, _start(prompts[pk])) for pk in move.get("shown") or () if prompts.get(pk)]}
            for move in moved
        ],
    }


def _paired(paired: Mapping[str, Any]) -> dict[str, str] | None:
    if not paired.get("count"):
        return None
    low, high = paired["interval"]
    return {
        "gained": str(paired.get("gained")),
        "lost": str(paired.get("lost")),
        "difference": f"{paired['difference']:+.1%} ({low:+.1%} to {high:+.1%})",
    }


def evaluations(proposal: Proposal) -> list[tuple[str, str, str, str, str]]:
    """Return, for each part of the prompts whose expert is known, how many are right in each of four measurements."""
    effect = mapping(proposal.effect)
    measured = [mapping(one) for one in (effect.get("before"), effect.get("after"), proposal.before, proposal.after)]
    parts = [mapping(one.get("parts")) | {"all": mapping(one.get("all"))} for one in measured]
    there = [name for name in _PARTS if any(mapping(one.get(name)).get("count") for one in parts)]
    return [(_PARTS[name], *(_share(mapping(one.get(name))) for one in parts)) for name in there]  # type: ignore[misc]


def _share(found: Mapping[str, Any]) -> str:
    if not found.get("count"):
        return "–"
    low, high = found["interval"]
    return f"{percent(found['accuracy'])} of {number(found['count'], 0)} ({percent(low)} to {percent(high)})"


def _correction(row: Feedback) -> dict[str, Any]:
    sender = row.key_name or str(row.user or "–")
    return {"decision": row.decision, "prompt": _start(row.prompt), "sender": sender, "comment": row.comment}


def _start(text: str) -> str:
    line = " ".join(text[: 5 * _SHOWN_CHARACTERS].split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
