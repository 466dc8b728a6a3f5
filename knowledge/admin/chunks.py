from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.editing import EditPages, text_address
from knowledge.admin.flags import DismissPages, SignalFilter
from knowledge.admin.languages import LanguageFilter
from knowledge.admin.rights import may
from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import counted, excerpt
from knowledge.authors import Author
from knowledge.chunking import SEPARATOR
from knowledge.curation.editing import chunks_switch
from knowledge.models import Chunk, ChunkState, Posting
from knowledge.revisions import is_published
from routing.admin.readonly import Kept
from routing.exceptions import EndpointError

BESIDE = 2
"""Chunks shown before and after one."""


class StateFilter(admin.SimpleListFilter):
    """Shows what is live unless somebody asks for the rest: earlier revisions' chunks are kept for old citations."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "All"), *((state.value, str(state.label)) for state in ChunkState if state != ChunkState.LIVE)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> QuerySet[Chunk]:
        wanted = self.value() or ChunkState.LIVE
        return queryset if wanted == "all" else queryset.filter(state=wanted)

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": ChunkState.LIVE.label,
        }
        yield from list(super().choices(changelist))[1:]


class ChunkLanguageFilter(LanguageFilter):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> QuerySet[Chunk]:
        return queryset if self.wanted is None else queryset.filter(language=self.wanted)


class SwitchPages(admin.ModelAdmin):
    """Where the buttons beside chunks lead."""

    def get_urls(self) -> list[URLPattern]:
        switch = self.admin_site.admin_view(self.switch_view)
        return [path("switch/", switch, name="knowledge_chunk_switch"), *super().get_urls()]

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whoever may change chunks may say which are found, and make edits of their texts."""
        return may(request, "change", "chunk")

    def switch_view(self, request: HttpRequest) -> HttpResponse:
        """Enable or disable one chunk, and go back to where the button was: its document, its text, or its own page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_switch_permission(request):
            raise PermissionDenied
        enabled = "enable" in request.POST
        pk = request.POST.get("enable" if enabled else "disable", "")
        chunk = self.get_object(request, pk)
        if chunk is None:
            raise Http404("There is no such chunk.")
        self._switch(request, [chunk], enabled=enabled)
        if request.POST.get("document") == str(chunk.document_id):
            return HttpResponseRedirect(
                reverse("admin:knowledge_document_change", args=[chunk.document_id]) + "#chunks"
            )
        if request.POST.get("back") == "text":
            return HttpResponseRedirect(text_address(chunk))
        # Another chunk says the same from now on, and is not found.
        now = Chunk.objects.live().filter(document=chunk.document_id, ordinal=chunk.ordinal).first()
        return HttpResponseRedirect(reverse("admin:knowledge_chunk_change", args=[(now or chunk).pk]))

    def _switch(self, request: HttpRequest, chunks: Iterable[Chunk], *, enabled: bool) -> None:
        what, done, later, problems = "Enabled" if enabled else "Disabled", 0, False, []
        by_document: dict[int, list[Chunk]] = {}
        for chunk in chunks:
            by_document.setdefault(chunk.document_id, []).append(chunk)
        for some in by_document.values():
            try:
                received = chunks_switch(
                    chunks=some, enabled=enabled, author=Author.of(request.user), reason=f"{what} in the admin."
                )
            except EndpointError as error:
                problems.append(f"“{some[0].document}”: {error.message}")
                continue
            done += len(some)
            later = later or (received is not None and not is_published(received))
        tell_problems(self, request, problems)
        found = "it is found" if enabled else "it is not found any more"
        words = f"{what} {counted(done, 'chunk')}{f'; {found}' if done == 1 and not later else ''}."
        words = f"{words} It counts once the document’s new revision is published." if later else words
        self.message_user(request, words, messages.SUCCESS if done else messages.WARNING)


@admin.register(Chunk)
class ChunkAdmin(SwitchPages, EditPages, DismissPages, Kept):
    list_display = (
        *("start", "document_link", "collection", "heading", "page", "tokens", "language", "enabled"),
        "shown_signals",
    )
    list_filter = (StateFilter, "enabled", SignalFilter, "collection", ChunkLanguageFilter)
    list_select_related = ("document", "collection", "edit")
    search_fields = ("text", "heading")
    search_help_text = "Part of the text or of the headings, letter by letter; slow where there are very many."
    show_full_result_count = False
    actions = ("enable", "disable", "dismiss")
    change_form_template = "admin/knowledge/chunk/change_form.html"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "embedded",
                    "document_link",
                    "collection",
                    "place",
                    "page",
                    "enabled",
                    "state",
                    "edited",
                    "told_signals",
                )
            },
        ),
        ("What finds it", {"fields": ("tokens", "language", "terms", "vectors", "hash")}),
    )
    readonly_fields = (
        "start",
        "document_link",
        "embedded",
        "place",
        "edited",
        "told_signals",
        "terms",
        "vectors",
        "shown_signals",
    )

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chunk]:
        chunks: QuerySet[Chunk] = super().get_queryset(request)
        return chunks.filter(collection__scratch=False)

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # Of one document in reading order; of many the newest, for which there is an index.
        return ("ordinal", "-pk") if "document__id__exact" in request.GET else ("-pk",)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup == "document__id__exact" or super().lookup_allowed(lookup, value, request)  # type: ignore[arg-type]

    # --- columns

    @admin.display(description="text")
    def start(self, chunk: Chunk) -> str:
        return excerpt(chunk.text, 100) or "(empty)"

    @admin.display(description="document", ordering="document")
    def document_link(self, chunk: Chunk) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:knowledge_document_change", args=[chunk.document_id]),
            excerpt(str(chunk.document), 60),
        )

    # --- the page of one

    @admin.display(description="as embedded")
    def embedded(self, chunk: Chunk) -> SafeString:
        header = header_of(chunk)
        above = format_html('<p class="quiet">{}</p>', header) if header else ""
        return format_html('{}<div class="words">{}</div>', above, chunk.text)

    @admin.display(description="place")
    def place(self, chunk: Chunk) -> str:
        number = Chunk.objects.live().filter(document=chunk.document_id).count()
        return f"{chunk.ordinal + 1} of {number}, since revision {chunk.revision}"

    @admin.display(description="edited")
    def edited(self, chunk: Chunk) -> SafeString | str:
        if chunk.edit is None:
            return "no: as it was parsed"
        address = reverse("admin:knowledge_chunkedit_change", args=[chunk.edit.pk])
        return format_html('<a href="{}">{}</a>', address, chunk.edit.get_kind_display())

    @admin.display(description="terms")
    def terms(self, chunk: Chunk) -> str:
        rows = Posting.objects.filter(chunk=chunk)
        length = rows.values_list("length", flat=True).first()
        return f"{rows.count():,} different of {length:,}" if length else "none: it is not found by words"

    @admin.display(description="vectors by")
    def vectors(self, chunk: Chunk) -> str:
        rows = chunk.embeddings.values_list("embedding_model__name", "findable")
        return ", ".join(name if findable else f"{name} (not found)" for name, findable in rows) or "no model yet"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Chunk"}
        chunk = self.get_object(request, object_id)
        if chunk is not None:
            context["subtitle"] = f"{chunk.document}, {chunk.ordinal + 1}"
            context |= {"neighbours": neighbours_of(chunk), "may_switch": self.has_switch_permission(request)}
            context["may_dismiss"] = bool(chunk.signals) and self.has_dismiss_permission(request)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    # --- actions

    @admin.action(description="Let the selected chunks be found", permissions=["switch"])
    def enable(self, request: HttpRequest, chunks: QuerySet[Chunk]) -> None:
        self._switch(request, chunks.filter(enabled=False), enabled=True)

    @admin.action(description="Keep the selected chunks from being found", permissions=["switch"])
    def disable(self, request: HttpRequest, chunks: QuerySet[Chunk]) -> None:
        self._switch(request, chunks.filter(enabled=True), enabled=False)


def header_of(chunk: Chunk) -> str:
    """Return what is embedded before a chunk's text, "" where its collection embeds the text alone."""
    if not chunk.collection.embed_headings:
        return ""
    return SEPARATOR.join(part for part in (chunk.document.title, chunk.heading) if part)


def neighbours_of(chunk: Chunk) -> list[tuple[Chunk, str]]:
    """Return the live chunks before and after one, in reading order, with how they begin; the chunk itself too."""
    near = range(max(0, chunk.ordinal - BESIDE), chunk.ordinal + BESIDE + 1)
    rows = Chunk.objects.live().filter(document=chunk.document_id, ordinal__in=near).order_by("ordinal")
    return [(row, excerpt(row.text, 160)) for row in rows]
