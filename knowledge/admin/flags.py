"""The pages of chunks in which something speaks to a model, and of those that somebody found to be fine."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from knowledge.admin.confirming import confirmation, is_confirmed
from knowledge.admin.rights import may
from knowledge.admin.wording import counted
from knowledge.authors import Author
from knowledge.flagging import chunks_dismiss, dismissal_withdraw
from knowledge.models import Chunk, Dismissal
from knowledge.signals import LABELS
from routing.admin.readonly import ReadOnly

ANY = "any"
LONGEST_REASON = 1_000


def badges(signals: Iterable[str]) -> SafeString:
    """Return signals as they stand beside a text, each with what it means."""
    shown = ((LABELS.get(name, name), name) for name in signals)
    return format_html_join(" ", '<span class="signal" title="{}">{}</span>', shown)


def flagged_address(**filters: Any) -> str:
    """Return where flagged chunks are listed."""
    more = "".join(f"&{name}={value}" for name, value in filters.items())
    return f"{reverse('admin:knowledge_chunk_changelist')}?signals={ANY}{more}"


class SignalFilter(admin.SimpleListFilter):
    """By what in a chunk looks like an order to a model."""

    title = "signals"
    parameter_name = "signals"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(ANY, "Any: it is flagged"), ("none", "None"), *LABELS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Chunk]) -> QuerySet[Chunk]:
        wanted = self.value()
        if wanted == ANY:
            return queryset.exclude(signals=[])
        if wanted == "none":
            return queryset.filter(signals=[])
        return queryset.filter(signals__contains=[wanted]) if wanted in LABELS else queryset


class DismissPages(admin.ModelAdmin):
    """What the admin of chunks has for those that are flagged."""

    def get_urls(self) -> list[URLPattern]:
        dismiss = self.admin_site.admin_view(self.dismiss_view)
        return [path("<int:pk>/dismiss/", dismiss, name="knowledge_chunk_dismiss"), *super().get_urls()]

    def has_dismiss_permission(self, request: HttpRequest) -> bool:
        """Whoever may change chunks may say that one is fine."""
        return may(request, "change", "chunk")

    @admin.display(description="signals")
    def shown_signals(self, chunk: Chunk) -> SafeString | str:
        return badges(chunk.signals) or "–"

    @admin.display(description="looks like an order to a model")
    def told_signals(self, chunk: Chunk) -> SafeString | str:
        told = ((LABELS.get(name, name), name) for name in chunk.signals)
        return format_html_join("", '<p>{} <span class="quiet">({})</span></p>', told) or "no"

    def dismiss_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Remember that a chunk is fine, for the reason given, and go back to it."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_dismiss_permission(request):
            raise PermissionDenied
        chunk: Chunk | None = self.get_object(request, str(pk))
        if chunk is None:
            raise Http404("There is no such chunk.")
        self._dismiss(request, [chunk])
        return HttpResponseRedirect(reverse("admin:knowledge_chunk_change", args=[pk]))

    @admin.action(description="The selected chunks are fine: do not flag them …", permissions=["dismiss"])
    def dismiss(self, request: HttpRequest, chunks: QuerySet[Chunk]) -> HttpResponse | None:
        flagged = chunks.exclude(signals=[])
        if not is_confirmed(request):
            sentences = (
                f"{counted(flagged.count(), 'chunk')} will not be flagged any more, nor will others that say the same.",
                "What they say stays in prompts as it is; tools are not withheld for them.",
            )
            return confirmation(
                self,
                request,
                title="Are these fine?",
                sentences=sentences,
                action="dismiss",
                reason=f"Why? Up to {LONGEST_REASON:,} characters; it is kept.",
            )
        self._dismiss(request, list(flagged))
        return None

    def _dismiss(self, request: HttpRequest, chunks: Sequence[Chunk]) -> None:
        reason = request.POST.get("reason", "").strip()[:LONGEST_REASON]
        number = chunks_dismiss(chunks=chunks, author=Author.of(request.user), reason=reason)
        for chunk in chunks:
            self.log_change(request, chunk, f"Found to be fine. {reason}".strip())
        words = f"{counted(number, 'chunk is', 'chunks are')} not flagged any more."
        self.message_user(request, words, messages.SUCCESS if number else messages.WARNING)


@admin.register(Dismissal)
class DismissalAdmin(ReadOnly):
    list_display = ("__str__", "shown_signals", "reason", "author_name", "created_at")
    search_fields = ("excerpt", "reason", "author_name")
    search_help_text = "Part of the text’s beginning, of a reason, or of who said so."
    fields = ("__str__", "shown_signals", "reason", "author_name", "created_at", "chunks")
    readonly_fields = ("__str__", "shown_signals", "chunks")

    class Media:
        css = {"all": ("knowledge/admin.css",)}

    @admin.display(description="signals")
    def shown_signals(self, dismissal: Dismissal) -> SafeString:
        return badges(dismissal.signals)

    @admin.display(description="chunks of that text")
    def chunks(self, dismissal: Dismissal) -> SafeString | str:
        rows = Chunk.objects.live().filter(hash=dismissal.hash, collection__scratch=False).select_related("document")
        links = (
            (reverse("admin:knowledge_chunk_change", args=[row.pk]), f"{row.document}, {row.ordinal + 1}")
            for row in rows[:20]
        )
        return format_html_join("", '<p><a href="{}">{}</a></p>', links) or "none any more"

    def delete_model(self, request: HttpRequest, dismissal: Dismissal) -> None:
        self._told(request, dismissal_withdraw(dismissal=dismissal))

    def delete_queryset(self, request: HttpRequest, dismissals: QuerySet[Dismissal]) -> None:
        self._told(request, sum(dismissal_withdraw(dismissal=dismissal) for dismissal in dismissals))

    def _told(self, request: HttpRequest, number: int) -> None:
        words = f"{counted(number, 'chunk is', 'chunks are')} flagged again."
        self.message_user(request, words, messages.INFO)


def flag_note(chunks: QuerySet[Chunk], address: str) -> SafeString | str:
    """Return a line that says how many of ``chunks`` are flagged, with where they are listed; "" if none is."""
    number = chunks.exclude(signals=[]).count()
    if not number:
        return ""
    words = counted(number, "chunk looks like an order to a model", "chunks look like orders to a model")
    return format_html('<a href="{}">{}</a>', address, words)
