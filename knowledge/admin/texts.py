"""The page that has what a document's source says beside its chunks, with what can be done to each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from knowledge.admin.editing import TEXTS_A_PAGE, source_of
from knowledge.admin.progress import job_cell
from knowledge.admin.rights import may, may_see
from knowledge.curation.edit import Original
from knowledge.models import Chunk, ChunkEdit, Document, DocumentRevision, IngestionJob, RevisionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Chunks that stand together in the place of what the source says there, as it is or by an edit."""

    sources: Sequence[Original]
    chunks: list[Chunk] = field(default_factory=list)
    edit: ChunkEdit | None = None


class TextPages(admin.ModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.text_view)
        return [path("<int:pk>/text/", view, name="knowledge_document_text"), *super().get_urls()]

    def text_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        document = self.get_object(request, str(pk))
        if document is None:
            raise Http404("There is no such document.")
        if not (self.has_view_or_change_permission(request, document) and may_see(request, "chunk")):
            raise PermissionDenied
        # What waits is asked for before what is found: a revision that is published in between is shown, and at worst
        # still said to wait; the other way round, what was there before would be shown as if it were all.
        job = unfinished_job_of(document) if may_see(request, "ingestionjob") else None
        waiting = waiting_of(document)
        rows = Chunk.objects.live().filter(document=document).select_related("edit").order_by("ordinal")
        page = Paginator(rows, TEXTS_A_PAGE).get_page(request.GET.get("page"))
        context = self.admin_site.each_context(request) | {
            "title": "Source and chunks",
            "subtitle": str(document),
            "opts": self.opts,
            "document": document,
            "page": page,
            "places": list(places_of(list(page.object_list))),
            "waiting": waiting,
            "job_now": job_cell(job) if job else "",
            "conflicts": conflicts_of(document),
            "may_change": may(request, "change", "chunk"),
            "sees_edits": may_see(request, "chunkedit"),
            "sees_revisions": may_see(request, "documentrevision"),
        }
        return TemplateResponse(request, "admin/knowledge/document/text.html", context)


def places_of(chunks: Sequence[Chunk]) -> Iterator[Place]:
    """Yield the places of consecutive chunks."""
    for edit_id, some in groupby(chunks, key=lambda chunk: chunk.edit_id):
        together = list(some)
        if edit_id is not None and (edit := together[0].edit) is not None:
            yield Place(sources=source_of(edit), chunks=together, edit=edit)
        else:
            for chunk in together:
                source = Original(text=chunk.text, heading=chunk.heading, page=chunk.page)
                yield Place(sources=[source], chunks=[chunk])


def unfinished_job_of(document: Document) -> IngestionJob | None:
    jobs = IngestionJob.objects.unfinished().filter(document=document)
    return jobs.select_related("document", "collection").first()


def waiting_of(document: Document) -> DocumentRevision | None:
    """Return the revision that a document is to become, once it is read or approved."""
    waiting = (RevisionState.PENDING, RevisionState.REVIEW)
    return document.revisions.filter(state__in=waiting).defer("chunk_ids").first()


def conflicts_of(document: Document) -> Sequence[ChunkEdit]:
    return list(document.edits.filter(state=ChunkEdit.State.CONFLICT))
