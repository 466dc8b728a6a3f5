"""The pages of what people changed of chunks, above all where the source changed there too."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.editing import SPLIT_HERE, texts_of
from knowledge.admin.keeping import HistoryPages
from knowledge.admin.rights import may
from knowledge.admin.telling import tell_received
from knowledge.admin.wording import excerpt
from knowledge.authors import Author
from knowledge.curation.differences import words_compared
from knowledge.curation.edit import Outcome, joined, originals_of
from knowledge.curation.editing import LONGEST_TEXT, Answer, conflict_resolve, edit_withdraw
from knowledge.models import ChunkEdit
from routing.admin.fields import TextField
from routing.admin.readonly import Kept
from routing.exceptions import EndpointError


class InForceFilter(admin.SimpleListFilter):
    """Shows what is in force unless somebody asks for the rest."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "All"), *((state.value, str(state.label)) for state in ChunkEdit.State)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ChunkEdit]) -> QuerySet[ChunkEdit]:
        if self.value() is None:
            return queryset.exclude(state=ChunkEdit.State.WITHDRAWN)
        return queryset if self.value() == "all" else queryset.filter(state=self.value())

    def choices(self, changelist: Any) -> Iterator[Any]:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": "In force or in conflict",
        }
        yield from list(super().choices(changelist))[1:]


class AnswerForm(forms.Form):
    answer = forms.ChoiceField(choices=[(answer.value, answer.value) for answer in Answer])
    text = TextField(rows=10, required=False, max_length=LONGEST_TEXT * 2)
    reason = forms.CharField(required=False, max_length=1_000, widget=forms.TextInput(attrs={"class": "vTextField"}))


class AnswerPages(admin.ModelAdmin):
    """Where the buttons of an edit's page lead."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/answer/", view(self.answer_view), name="knowledge_chunkedit_answer"),
            path("<int:pk>/withdraw/", view(self.withdraw_view), name="knowledge_chunkedit_withdraw"),
            *super().get_urls(),
        ]

    def answer_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Resolve a conflict as the form says, and go back to the edit."""
        edit = self._edit(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = AnswerForm(request.POST)
        if not form.is_valid():
            self.message_user(request, "Choose one of the three answers.", messages.ERROR)
            return HttpResponseRedirect(_address(edit))
        found = form.cleaned_data
        try:
            received = conflict_resolve(
                edit=edit,
                answer=Answer(found["answer"]),
                texts=texts_of(found["text"]),
                author=Author.of(request.user),
                reason=found["reason"],
            )
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(_address(edit))
        tell_received(self, request, received, "The conflict is resolved.")
        return HttpResponseRedirect(reverse("admin:knowledge_document_text", args=[edit.document_id]))

    def withdraw_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take an edit back, so that what the source says is found again."""
        edit = self._edit(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            received = edit_withdraw(
                edit=edit, author=Author.of(request.user), reason=request.POST.get("reason", "")[:1_000]
            )
        except EndpointError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(_address(edit))
        tell_received(self, request, received, "The edit is withdrawn.")
        return HttpResponseRedirect(reverse("admin:knowledge_document_text", args=[edit.document_id]))

    def _edit(self, request: HttpRequest, pk: int) -> ChunkEdit:
        edit: ChunkEdit | None = self.get_object(request, str(pk))
        if edit is None:
            raise Http404("There is no such edit.")
        if not may(request, "change", "chunk"):
            raise PermissionDenied
        return edit


@admin.register(ChunkEdit)
class ChunkEditAdmin(AnswerPages, HistoryPages, Kept):
    list_display = ("what", "document_link", "kind", "shown_state", "who", "why", "updated_at")
    list_filter = (InForceFilter, "kind", "document__collection")
    list_select_related = ("document", "author")
    search_fields = ("document__title", "document__source", "reason", "author_name")
    search_help_text = "Part of a document’s title or source, of a reason, or of who changed it."
    show_full_result_count = False
    change_form_template = "admin/knowledge/chunkedit/change_form.html"
    fieldsets = ((None, {"fields": ("document_link", "kind", "shown_state", "who", "why", "created_at", "replaced")}),)
    readonly_fields = ("document_link", "shown_state", "who", "why", "replaced")

    class Media:
        css = {"all": ("knowledge/admin.css",)}
        js = ("knowledge/splitting.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChunkEdit]:
        edits: QuerySet[ChunkEdit] = super().get_queryset(request)
        return edits.filter(document__collection__scratch=False)

    # --- columns

    @admin.display(description="text")
    def what(self, edit: ChunkEdit) -> str:
        return excerpt(" ".join(one["text"] for one in edit.texts), 80) or "(nothing)"

    @admin.display(description="document", ordering="document")
    def document_link(self, edit: ChunkEdit) -> SafeString:
        address = reverse("admin:knowledge_document_text", args=[edit.document_id])
        return format_html('<a href="{}">{}</a>', address, excerpt(str(edit.document), 60))

    @admin.display(description="state", ordering="state")
    def shown_state(self, edit: ChunkEdit) -> SafeString:
        style = "weak" if edit.state == ChunkEdit.State.CONFLICT else ""
        return format_html('<span class="{}">{}</span>', style, edit.get_state_display())

    @admin.display(description="by")
    def who(self, edit: ChunkEdit) -> str:
        return edit.author_name or str(edit.author or "–")

    @admin.display(description="why")
    def why(self, edit: ChunkEdit) -> str:
        return excerpt(edit.reason, 200) or "–"

    @admin.display(description="its place was taken by")
    def replaced(self, edit: ChunkEdit) -> SafeString | str:
        if edit.replaced_by is None:
            return "–"
        return format_html('<a href="{}">{}</a>', _address(edit.replaced_by), edit.replaced_by.get_kind_display())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Edit of a chunk"}
        edit = self.get_object(request, object_id)
        if edit is not None:
            context |= told(edit) | {"may_answer": may(request, "change", "chunk"), "split_here": SPLIT_HERE}
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))


def told(edit: ChunkEdit) -> dict[str, Any]:
    """Return the three texts of an edit as its page shows them: what it was made of, mine, and theirs."""
    outcomes = tuple(map(Outcome.of, edit.texts))
    original, mine = joined(originals_of(edit.originals)), joined(outcomes)
    in_conflict = edit.state == ChunkEdit.State.CONFLICT
    theirs = joined(originals_of(edit.theirs)) if in_conflict and edit.theirs else ""
    return {
        "original_text": original,
        "outcomes": outcomes,
        "mine": words_compared(original, mine),
        "my_text": f"\n{SPLIT_HERE}\n".join(outcome.text for outcome in outcomes),
        "in_conflict": in_conflict,
        "in_force": edit.state != ChunkEdit.State.WITHDRAWN,
        "theirs": words_compared(original, theirs) if theirs else (),
    }


def _address(edit: ChunkEdit) -> str:
    return reverse("admin:knowledge_chunkedit_change", args=[edit.pk])
