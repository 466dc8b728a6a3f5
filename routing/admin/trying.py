"""The page on which an administrator tries a prompt: who would answer, and what each rule says of it."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from routing.admin.examples import ExpertForm
from routing.admin.trial import Trial, TrialForm, tried
from routing.catalog import AUTO, catalog
from routing.exceptions import EndpointError
from routing.models import Expert, RouteExample
from routing.models.examples import Correction

LONGEST_IN_ADDRESS = 1500
"""Characters of a prompt that a link to this page may carry."""


@transaction.atomic
def example_keep(prompt: str, expert: Expert, *, user: Any) -> Correction:
    """Make ``prompt`` an example for ``expert``: one written here, or the correction of one there was."""
    correction = RouteExample.objects.correct(prompt, expert, user=user)
    if correction.before is None:
        correction.example.source = RouteExample.Source.CURATED
        correction.example.save(update_fields=["source"])
    return correction


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
