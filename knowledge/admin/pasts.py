"""A document's history: every revision with who made it and why, two of them compared, and one brought back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from knowledge.admin.comparisons import Compared, compared
from knowledge.admin.rights import may_see
from knowledge.admin.telling import tell_received
from knowledge.authors import Author
from knowledge.curation.rollback import may_be_restored, revision_restore
from knowledge.models import Document, DocumentRevision
from routing.exceptions import EndpointError

REVISIONS_A_PAGE = 50
SHOWN_ACTIONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A revision in a document's history; ``added`` and ``removed`` chunks are against the one before it."""

    revision: DocumentRevision
    chunks: int
    added: int
    removed: int
    may_be_restored: bool


class PastPages(admin.ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.restore_view)
        name = "knowledge_document_restore"
        return [path("<int:pk>/restore/<int:number>/", view, name=name), *super().get_urls()]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a document's revisions; "from" and "to" in the address name two that are compared."""
        document = self._document(request, object_id)
        rows = document.revisions.select_related("author", "reviewer").order_by("-number")
        page = Paginator(rows, REVISIONS_A_PAGE).get_page(request.GET.get("page"))
        chosen = [_number(request.GET.get(name)) for name in ("from", "to")]
        context = self.admin_site.each_context(request) | {
            "title": f"History of {document}",
            "opts": self.opts,
            "document": document,
            "page": page,
            "pasts": pasts_of(list(page.object_list)),
            "chosen": chosen,
            "compared": self._compared(request, document, *chosen),
            "actions": LogEntry.objects.filter(
                object_id=str(document.pk), content_type=get_content_type_for_model(Document)
            ).select_related("user")[:SHOWN_ACTIONS],
            "may_restore": self.has_change_permission(request, document),
            "sees_chunks": may_see(request, "chunk"),
        }
        return TemplateResponse(request, "admin/knowledge/document/history.html", context | (extra_context or {}))

    def restore_view(self, request: HttpRequest, pk: int, number: int) -> HttpResponse:
        """Ask whether a revision is to be brought back, with what would change, and do it."""
        document = self._document(request, str(pk))
        if not self.has_change_permission(request, document):
            raise PermissionDenied
        revision = document.revisions.filter(number=number).first()
        if revision is None:
            raise Http404("There is no such revision.")
        if request.method == "POST":
            reason = request.POST.get("reason", "")[:1_000]
            try:
                received = revision_restore(
                    document=document, number=number, author=Author.of(request.user), reason=reason
                )
            except EndpointError as error:
                self.message_user(request, error.message, messages.ERROR)
            else:
                self.log_change(request, document, f"Brought revision {number} back.")
                tell_received(self, request, received, f"Revision {number} is brought back.")
            return HttpResponseRedirect(reverse("admin:knowledge_document_history", args=[pk]))
        live = document.revisions.filter(number=document.revision).first()
        context = self.admin_site.each_context(request) | {
            "title": f"Bring revision {number} back",
            "opts": self.opts,
            "document": document,
            "revision": revision,
            "possible": may_be_restored(revision),
            "compared": compared(live, revision) if may_see(request, "chunk") else None,
        }
        return TemplateResponse(request, "admin/knowledge/document/restore.html", context)

    def _document(self, request: HttpRequest, object_id: str) -> Document:
        document: Document | None = self.get_object(request, object_id)
        if document is None:
            raise Http404("There is no such document.")
        if not self.has_view_or_change_permission(request, document):
            raise PermissionDenied
        return document

    def _compared(self, request: HttpRequest, document: Document, old: int | None, new: int | None) -> Compared | None:
        if old is None or new is None or not may_see(request, "chunk"):
            return None
        rows = {row.number: row for row in document.revisions.filter(number__in=(old, new))}
        return compared(rows.get(old), rows[new]) if new in rows else None


def pasts_of(rows: Sequence[DocumentRevision]) -> list[Past]:
    """Return revisions, the newest first, with how many chunks each added to and took from the one found before it."""
    pasts: list[Past] = []
    before: set[int] = set()
    for row in reversed(rows):
        ids = set(row.chunk_ids)
        pasts.append(
            Past(
                revision=row,
                chunks=len(ids),
                added=len(ids - before),
                removed=len(before - ids) if ids else 0,
                may_be_restored=may_be_restored(row),
            )
        )
        before = ids or before
    return pasts[::-1]


def _number(given: str | None) -> int | None:
    return int(given) if given and given.isdecimal() and len(given) < 9 else None
