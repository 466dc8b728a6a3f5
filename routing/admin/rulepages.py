"""The pages beside the list of rules: their file out and in, and moving one."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from routing.admin.uploads import TextFileField
from routing.models import RoutingRule
from routing.rulefile import MAX_BYTES, ImportResult, RuleFileError, rules_export, rules_import
from routing.ruleset import rule_move


class RuleFileForm(forms.Form):
    file = TextFileField(max_bytes=MAX_BYTES, help_text="An export, or a YAML file like one.")
    replace = forms.BooleanField(
        required=False, label="Delete the rules that the file does not have", help_text="Otherwise they stay."
    )


class RulePages(admin.ModelAdmin):
    """The pages beside the list of rules: export, import, and moving one up or down."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name="routing_routingrule_export"),
            path("import/", view(self.import_view), name="routing_routingrule_import"),
            path("<int:pk>/move/", view(self.move_view), name="routing_routingrule_move"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        response = HttpResponse(rules_export(), content_type="application/yaml; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="rules.yaml"'
        return response

    def has_import_permission(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file and show what it would change; with its text sent back, change it."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        if request.method == "POST" and "text" in request.POST:
            return self._apply(request, request.POST["text"], replace="replace" in request.POST)
        form = RuleFileForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._import_page(request, form=form)
        return self._preview(request, form, form.cleaned_data["file"], replace=form.cleaned_data["replace"])

    def _preview(self, request: HttpRequest, form: RuleFileForm, text: str, *, replace: bool) -> HttpResponse:
        try:
            self._check_may_replace(request, replace=replace)
            result = rules_import(text, replace=replace, dry_run=True)
        except RuleFileError as error:
            return self._import_page(request, form=form, problems=error.message.splitlines())
        return self._import_page(request, text=text, replace=replace, result=result)

    def _apply(self, request: HttpRequest, text: str, *, replace: bool) -> HttpResponse:
        try:
            self._check_may_replace(request, replace=replace)
            result = self._import(request, text, replace=replace)
        except RuleFileError as error:
            return self._import_page(request, form=RuleFileForm(), problems=error.message.splitlines())
        self.message_user(request, f"Imported the rules: {result}.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:routing_routingrule_changelist"))

    def _check_may_replace(self, request: HttpRequest, *, replace: bool) -> None:
        if replace and not self.has_delete_permission(request):
            raise PermissionDenied

    @transaction.atomic
    def _import(self, request: HttpRequest, text: str, *, replace: bool) -> ImportResult:
        before = {row.name: row for row in RoutingRule.objects.all()}
        result = rules_import(text, replace=replace)
        after = {row.name: row for row in RoutingRule.objects.all()}
        for name in result.created:
            self.log_addition(request, after[name], "Imported.")
        for name in result.updated:
            self.log_change(request, after[name], "Imported.")
        if result.deleted:
            self.log_deletions(request, [before[name] for name in result.deleted])  # type: ignore[arg-type]
        return result

    def _import_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        context = self.admin_site.each_context(request) | {"title": "Import rules", "opts": self.opts} | context
        context["may_replace"] = self.has_delete_permission(request)
        return TemplateResponse(request, "admin/routing/routingrule/import.html", context)

    def move_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Move a rule by one place, up or down, and go back to the list as it was."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        rule = self.get_object(request, str(pk))
        if rule is None:
            raise Http404("There is no such rule.")
        if not self.has_change_permission(request, rule):
            raise PermissionDenied
        up = request.POST.get("move") != "down"
        if rule_move(pk, -1 if up else 1):
            self.log_change(request, rule, f"Moved {'up' if up else 'down'}.")
            self.message_user(request, f"Moved “{rule}” {'up' if up else 'down'}.", messages.SUCCESS)
        else:
            self.message_user(request, f"“{rule}” is {'first' if up else 'last'} already.", messages.WARNING)
        listing = reverse("admin:routing_routingrule_changelist")
        referer = urlsplit(request.headers.get("Referer", ""))
        query = f"?{referer.query}" if referer.path == listing and referer.query else ""
        return HttpResponseRedirect(f"{listing}{query}")
