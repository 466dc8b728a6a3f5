"""The pages of watched sources: when each is looked at next, what the last look found, and what one would find now."""

from typing import Any, cast

from asgiref.sync import async_to_sync
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.wording import counted, excerpt
from knowledge.equipment import shared_equipment
from knowledge.models import Collection, WatchedSource
from knowledge.watching import look_now, preview, source_check
from knowledge.watching.findings import BELIEVE, SourceFailed
from knowledge.watching.looking import Preview
from routing.admin.meanwhile import UndoesNothing

SHOWN = 200
"""Documents of a kind that a preview names."""


class WatchedSourceForm(forms.ModelForm):
    class Meta:
        model = WatchedSource
        fields = ("collection", "kind", "location", "branch", "pattern", "every_minutes", "enabled")
        labels = {"every_minutes": "Minutes between looks"}
        widgets = {
            "location": forms.TextInput(attrs={"class": "vTextField"}),
            "pattern": forms.TextInput(attrs={"class": "vTextField"}),
        }
        help_texts = {
            "pattern": "Which files or addresses, for example <i>docs/**/*.md, !docs/old/**</i>. Empty: all.",
            "location": "The whole path of a folder on the server, below one that the setting WATCH_FOLDERS allows; or "
            "the address of a sitemap, feed or git repository.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        collection = self.fields.get("collection")
        if isinstance(collection, forms.ModelChoiceField):
            collection.queryset = Collection.objects.lasting()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                source_check(kind=cleaned["kind"], location=cleaned["location"], branch=cleaned["branch"])
            except SourceFailed as error:
                self.add_error("location", str(error))
        return cleaned


class LookPages(admin.ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/look/", view(self.look_view), name="knowledge_watchedsource_look"),
            path("<int:pk>/preview/", view(self.preview_view), name="knowledge_watchedsource_preview"),
            *super().get_urls(),
        ]

    def look_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have a source looked at now, and go back to it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        source = self._source(request, pk)
        accepting = request.POST.get("do") == "accept"
        look_now(source=source, accepting_loss=accepting)
        self.log_change(request, source, "Believed that documents are gone." if accepting else "Looked at now.")
        self.message_user(request, "It is looked at in a few seconds, by a worker that is free.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:knowledge_watchedsource_change", args=[pk]))

    def preview_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what a look would find now; nothing is read into the collection."""
        source = self._source(request, pk)
        context = self.admin_site.each_context(request) | {
            "title": f"What a look at {source} would find",
            "opts": self.opts,
            "source": source,
        }
        try:
            found = async_to_sync(_previewed)(source)
        except SourceFailed as error:
            context["error"] = str(error)
        else:
            context |= {"preview": found, "groups": _groups(found)}
        return TemplateResponse(request, "admin/knowledge/watchedsource/preview.html", context)

    def _source(self, request: HttpRequest, pk: int) -> WatchedSource:
        source: WatchedSource | None = self.get_object(request, str(pk))
        if source is None:
            raise Http404("There is no such source.")
        if not self.has_change_permission(request, source):
            raise PermissionDenied
        return source


@admin.register(WatchedSource)
class WatchedSourceAdmin(UndoesNothing, LookPages):
    form = WatchedSourceForm
    list_display = ("place", "collection", "kind", "state", "last_looked_at", "next_look", "documents", "gone")
    list_filter = ("kind", "enabled", "collection")
    list_select_related = ("collection",)
    search_fields = ("location", "pattern")
    actions = ("look", "delete_selected")
    fieldsets = (
        (None, {"fields": ("collection", "kind", "location", "branch", "pattern")}),
        ("When", {"fields": (("every_minutes", "enabled"),)}),
        ("How it goes", {"fields": ("state", "last_looked_at", "next_look", "documents", "gone")}),
    )
    readonly_fields = ("state", "last_looked_at", "next_look", "documents", "gone")

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[WatchedSource]:
        sources: QuerySet[WatchedSource] = super().get_queryset(request)
        return sources.filter(collection__scratch=False).annotate(
            documents_there=Count("documents"),
            documents_gone=Count("documents", filter=Q(documents__missing_since__isnull=False)),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj else self.fieldsets[:-1]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        source = self.get_object(request, object_id)
        may_look = source is not None and self.has_change_permission(request, source)
        context = {"may_look": may_look, "has_lost": bool(source and BELIEVE in source.error)}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    # --- columns

    @admin.display(description="where", ordering="location")
    def place(self, source: WatchedSource) -> str:
        return excerpt(source.location, 80)

    @admin.display(description="last look")
    def state(self, source: WatchedSource) -> SafeString | str:
        now = timezone.now()
        if source.looking_until is not None and source.looking_until > now:
            return "is looked at now"
        if source.error:
            return format_html('<span class="errornote breaks">{}</span>', source.error)
        return source.outcome or "not looked at yet"

    @admin.display(description="next look", ordering="next_look_at")
    def next_look(self, source: WatchedSource) -> str:
        if not source.enabled:
            return "never: it is off"
        seconds = (source.next_look_at - timezone.now()).total_seconds()
        return "as soon as a worker is free" if seconds <= 0 else f"in {counted(round(seconds / 60) or 1, 'minute')}"

    @admin.display(description="documents", ordering="documents_there")
    def documents(self, source: WatchedSource) -> SafeString:
        return _documents(source, cast(Any, source).documents_there)

    @admin.display(description="gone at the source", ordering="documents_gone")
    def gone(self, source: WatchedSource) -> SafeString | str:
        number = cast(Any, source).documents_gone
        return _documents(source, number, "&stale=missing") if number else "–"

    # --- actions

    @admin.action(description="Look at the selected sources now", permissions=["change"])
    def look(self, request: HttpRequest, sources: QuerySet[WatchedSource]) -> None:
        for source in sources:
            look_now(source=source)
        words = f"{counted(len(sources), 'source')} looked at in a few seconds, as workers are free."
        self.message_user(request, words, messages.SUCCESS)


def _documents(source: WatchedSource, number: int, more: str = "") -> SafeString:
    address = f"{reverse('admin:knowledge_document_changelist')}?watch__id__exact={source.pk}{more}"
    return format_html('<a href="{}">{}</a>', address, f"{number:,}")


async def _previewed(source: WatchedSource) -> Preview:
    return await preview(source, equipment=shared_equipment())


def _groups(found: Preview) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return what would be found, by what would become of it."""
    groups = (
        ("New: would be read", found.changes.new),
        ("Changed: would be read again", found.changes.changed),
        ("Would be asked whether they changed", found.changes.perhaps),
        ("Not there any more: would be marked, and stay found", found.changes.gone),
        ("There again", found.changes.back),
    )
    return [(title, len(items), items[:SHOWN]) for title, items in groups if items]
