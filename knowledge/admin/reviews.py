"""The pages of revisions: what waits for review, how it differs from what is found, and the answer to it."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.comparisons import Compared, compared
from knowledge.admin.rights import may
from knowledge.admin.wording import excerpt
from knowledge.authors import Author
from knowledge.curation.review import revision_approve, revision_reject
from knowledge.models import ChunkEdit, DocumentRevision, RevisionState
from knowledge.revisions import revision_live
from routing.admin.readonly import Kept
from routing.exceptions import EndpointError


class WaitingFilter(admin.SimpleListFilter):
    """Shows what waits for review unless somebody asks for the rest."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        others = (state for state in RevisionState if state != RevisionState.REVIEW)
        return [("all", "All"), *((state.value, str(state.label)) for state in others)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DocumentRevision]) -> QuerySet[DocumentRevision]:
        wanted = self.value() or RevisionState.REVIEW
        return queryset if wanted == "all" else queryset.filter(state=wanted)

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": RevisionState.REVIEW.label,
        }
        yield from list(super().choices(changelist))[1:]


class AnswerPages(admin.ModelAdmin):
    """Where the buttons of a revision that waits lead."""

    def get_urls(self) -> list[URLPattern]:
        answer = self.admin_site.admin_view(self.answer_view)
        return [path("<int:pk>/answer/", answer, name="knowledge_documentrevision_answer"), *super().get_urls()]

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Whoever may change revisions may say which are found; their texts nobody changes here."""
        return request.user.has_perm("knowledge.change_documentrevision")

    def answer_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Approve a revision or reject it, as the button says, and go back to what waits."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_review_permission(request):
            raise PermissionDenied
        revision = self.get_object(request, str(pk))
        if revision is None:
            raise Http404("There is no such revision.")
        if revision.held_back and request.POST.get("do") == "approve" and not may(request, "change", "collection"):
            raise PermissionDenied  # it is for who sets the gate to say that it does not count
        note, reviewer = request.POST.get("note", "")[:2_000], Author.of(request.user)
        own = reverse("admin:knowledge_documentrevision_change", args=[pk])
        try:
            if request.POST.get("do") == "approve":
                revision_approve(revision=revision, reviewer=reviewer, note=note)
                words = f"“{revision.document}” is approved, and being published."
            else:
                revision_reject(revision=revision, reviewer=reviewer, note=note)
                words = f"The change of “{revision.document}” is rejected."
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(own)
        self.message_user(request, words, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:knowledge_documentrevision_changelist"))


@admin.register(DocumentRevision)
class DocumentRevisionAdmin(AnswerPages, Kept):
    list_display = ("what", "collection", "number", "shown_state", "who", "why", "created_at")
    list_filter = (WaitingFilter, "document__collection")
    list_select_related = ("document", "document__collection", "author")
    search_fields = ("document__title", "document__source", "reason", "author_name")
    search_help_text = "Part of a document’s title or source, of a reason, or of who made it."
    show_full_result_count = False
    change_form_template = "admin/knowledge/documentrevision/change_form.html"
    fieldsets = (
        (None, {"fields": ("document_link", "number", "shown_state", "who", "why", "created_at")}),
        ("Review", {"fields": ("reviewer", "reviewed_at", "note")}),
    )
    readonly_fields = ("document_link", "shown_state", "who", "why", "note")

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DocumentRevision]:
        revisions: QuerySet[DocumentRevision] = super().get_queryset(request)
        return revisions.filter(document__collection__scratch=False)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_review_permission(request)

    # --- columns

    @admin.display(description="document", ordering="document")
    def what(self, revision: DocumentRevision) -> str:
        return excerpt(str(revision.document), 80)

    @admin.display(description="document")
    def document_link(self, revision: DocumentRevision) -> SafeString:
        address = reverse("admin:knowledge_document_change", args=[revision.document_id])
        return format_html('<a href="{}">{}</a>', address, revision.document)

    @admin.display(description="collection", ordering="document__collection")
    def collection(self, revision: DocumentRevision) -> str:
        return str(revision.document.collection)

    @admin.display(description="state", ordering="state")
    def shown_state(self, revision: DocumentRevision) -> str:
        return revision.get_state_display()

    @admin.display(description="by")
    def who(self, revision: DocumentRevision) -> str:
        return revision.author_name or str(revision.author or "–")

    @admin.display(description="why")
    def why(self, revision: DocumentRevision) -> str:
        return excerpt(revision.reason, 300) or "–"

    @admin.display(description="note")
    def note(self, revision: DocumentRevision) -> str:
        return revision.review_note or "–"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Revision"}
        revision = self.get_object(request, object_id)
        if revision is not None:
            context["subtitle"] = f"{revision.document}, {revision.number}"
            context |= self._beside(request, revision)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def _beside(self, request: HttpRequest, revision: DocumentRevision) -> dict[str, Any]:
        waits = revision.state == RevisionState.REVIEW
        return {
            "waits": waits,
            "may_overrule": may(request, "change", "collection"),
            "may_answer": waits and self.has_review_permission(request),
            "compared": _against_live(revision) if waits else None,
            "conflicts": conflicts_in(revision) if waits else (),
        }


def conflicts_in(revision: DocumentRevision) -> Sequence[ChunkEdit]:
    """Return the edits that are in conflict in a revision that is not found yet."""
    ids = [entry["id"] for entry in revision.edits if "theirs" in entry]
    return list(ChunkEdit.objects.filter(pk__in=ids))


def _against_live(revision: DocumentRevision) -> Compared:
    return compared(revision_live(revision.document), revision)
