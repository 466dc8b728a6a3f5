import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.progress import batch_cell, batch_progress, job_cell, parts_now, what_of
from knowledge.admin.rights import may, may_see
from knowledge.admin.telling import tell_problems
from knowledge.admin.wording import counted, excerpt
from knowledge.documents import document_reingest, job_cancel
from knowledge.models import IngestionJob, JobState
from knowledge.models.jobs import JobQuerySet
from knowledge.receiving import page_receive, sitemap_receive
from knowledge.switching import collection_embed_with, collection_fill, collection_give_up
from routing.admin.profiles import GuardedDeletion
from routing.admin.readonly import ReadOnly
from routing.exceptions import BadRequest, EndpointError


class ProgressPages(admin.ModelAdmin):
    """What pages ask while jobs run, and the page of jobs that were asked for together."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("progress/", view(self.progress_view), name="knowledge_progress"),
            path("batch/<uuid:batch>/", view(self.batch_view), name="knowledge_batch"),
            path("<uuid:pk>/work/", view(self.work_view), name="knowledge_ingestionjob_work"),
            *super().get_urls(),
        ]

    def progress_view(self, request: HttpRequest) -> HttpResponse:
        """Answer which of the parts named in the query have become what; see static/knowledge/progress.js."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        parts = parts_now(request.GET.getlist("part"), sees_documents=may_see(request, "document"))
        return JsonResponse({"parts": parts})

    def batch_view(self, request: HttpRequest, batch: uuid.UUID) -> HttpResponse:
        """Show the jobs of a batch; a POST cancels those that are not finished, or tries those again that failed."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        jobs = IngestionJob.objects.filter(batch=batch).select_related("collection", "document")
        first = jobs.first()
        if first is None:
            raise Http404("There is no such batch.")
        if request.method == "POST":
            self._do(request, jobs)
            return HttpResponseRedirect(reverse("admin:knowledge_batch", args=[batch]))
        sees_documents = may_see(request, "document")
        documents = reverse("admin:knowledge_document_changelist")
        context = self.admin_site.each_context(request) | {
            "title": "Jobs asked for together",
            "opts": self.opts,
            "now": batch_cell(batch, sees_documents=sees_documents),
            "unfinished": batch_progress(batch).unfinished,
            "collection": first.collection,
            "documents_url": f"{documents}?collection__id__exact={first.collection_id}" if sees_documents else "",
            "may_change": self.has_work_permission(request),
        }
        return TemplateResponse(request, "admin/knowledge/ingestionjob/batch.html", context)

    def work_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Cancel one job or try it again, and go back to its page."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_work_permission(request):
            raise PermissionDenied
        job = self.get_object(request, str(pk))
        if job is None:
            raise Http404("There is no such job.")
        self._do(request, IngestionJob.objects.filter(pk=job.pk).select_related("collection", "document"))
        return HttpResponseRedirect(reverse("admin:knowledge_ingestionjob_change", args=[pk]))

    def _do(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        if not self.has_work_permission(request):
            raise PermissionDenied
        if request.POST.get("do") == "cancel":
            self._cancel(request, jobs.unfinished())
        else:
            self._again(request, to_try_again(jobs))

    def has_work_permission(self, request: HttpRequest) -> bool:
        """Whoever may change jobs may cancel them and try them again."""
        return may(request, "change", "ingestionjob")

    def _cancel(self, request: HttpRequest, jobs: Iterable[IngestionJob]) -> None:
        done = sum(job_cancel(job=job) for job in jobs)
        self._told(request, done, f"Cancelled {counted(done, 'job')}.", "There was nothing to cancel.")

    def _again(self, request: HttpRequest, jobs: Iterable[IngestionJob]) -> None:
        done, problems = 0, []
        for job in jobs:
            try:
                job_again(job=job)
                done += 1
            except EndpointError as error:
                problems.append(f"“{what_of(job)}”: {error.message}")
        tell_problems(self, request, problems)
        self._told(request, done, f"Trying {counted(done, 'job')} again.", "There was nothing to try again.")

    def _told(self, request: HttpRequest, done: int, words: str, otherwise: str) -> None:
        self.message_user(request, words if done else otherwise, messages.SUCCESS if done else messages.WARNING)


@admin.register(IngestionJob)
class IngestionJobAdmin(ProgressPages, GuardedDeletion, ReadOnly):
    list_display = ("what", "collection", "kind", "progress", "attempts", "created_at", "together")
    list_filter = ("state", "kind", ("created_at", admin.DateFieldListFilter), "collection")
    list_select_related = ("collection", "document")
    search_fields = ("=id", "=batch", "url", "document__title", "document__source")
    search_help_text = "A document's title or source, an address, or a job's or batch's whole id."
    show_full_result_count = False
    actions = ("cancel", "again", "delete_selected")
    fieldsets = (
        (None, {"fields": ("shown_document", "collection", "kind", "url", "together")}),
        ("How far it is", {"fields": ("progress", "attempts", "error_code", "error")}),
        ("When", {"fields": ("created_at", "started_at", "finished_at")}),
    )
    readonly_fields = ("shown_document", "progress", "together")

    class Media:
        css = {"all": ("knowledge/admin.css",)}
        js = ("knowledge/progress.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[IngestionJob]:
        jobs: QuerySet[IngestionJob] = super().get_queryset(request)
        return jobs.filter(collection__scratch=False)

    def reason_to_keep(self, row: IngestionJob) -> str:
        return "" if row.is_finished else f"The job of {what_of(row)} is not finished; cancel it first."

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context: dict[str, Any] = {"title": "Job"}
        job = self.get_object(request, object_id)
        if job is not None and self.has_work_permission(request):
            context |= {
                "may_cancel": not job.is_finished,
                "may_try_again": to_try_again(IngestionJob.objects.filter(pk=job.pk)).exists(),
            }
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    # --- columns

    @admin.display(description="what")
    def what(self, job: IngestionJob) -> str:
        return excerpt(what_of(job), 80)

    @admin.display(description="document")
    def shown_document(self, job: IngestionJob) -> str:
        if job.document is None:
            return "–"
        address = reverse("admin:knowledge_document_change", args=[job.document_id])
        return format_html('<a href="{}">{}</a>', address, job.document)

    @admin.display(description="progress", ordering="state")
    def progress(self, job: IngestionJob) -> SafeString:
        return job_cell(job)

    @admin.display(description="batch")
    def together(self, job: IngestionJob) -> SafeString:
        return format_html('<a href="{}">Asked for together</a>', reverse("admin:knowledge_batch", args=[job.batch]))

    # --- actions

    @admin.action(description="Cancel the selected jobs", permissions=["work"])
    def cancel(self, request: HttpRequest, jobs: QuerySet[IngestionJob]) -> None:
        self._cancel(request, jobs.unfinished())  # type: ignore[attr-defined]

    @admin.action(description="Try the selected jobs again that failed or were cancelled", permissions=["work"])
    def again(self, request: HttpRequest, jobs: QuerySet[IngestionJob]) -> None:
        self._again(request, to_try_again(jobs))  # type: ignore[arg-type]


def to_try_again(jobs: JobQuerySet) -> JobQuerySet:
    """Return those of ``jobs`` that did not succeed and that no later job has taken the place of."""
    same = Q(document=OuterRef("document")) | Q(document=None, url=OuterRef("url"))
    later = IngestionJob.objects.filter(
        same, kind=OuterRef("kind"), collection=OuterRef("collection"), created_at__gt=OuterRef("created_at")
    )
    return jobs.filter(~Exists(later), state__in=(JobState.FAILED, JobState.CANCELLED))


_WITH_MODEL: Mapping[str, Callable[..., IngestionJob | None]] = {
    IngestionJob.Kind.EMBEDDING: collection_embed_with,
    IngestionJob.Kind.FILLING: collection_fill,
    IngestionJob.Kind.DROPPING: collection_give_up,
}


def job_again(*, job: IngestionJob) -> None:
    """Ask once more for what ``job`` did not do, in its own batch where it has others. Raises EndpointError."""
    if job.kind == IngestionJob.Kind.SITEMAP:
        sitemap_receive(collection=job.collection, url=job.url, metadata=job.metadata, batch=job.batch)
    elif job.kind in _WITH_MODEL:
        if job.embedding_model is None:
            raise BadRequest("It is not known with which model. Choose one at the collection.")
        _WITH_MODEL[job.kind](collection=job.collection, model=job.embedding_model)
    elif job.url:
        page_receive(collection=job.collection, url=job.url, batch=job.batch)
    elif job.document is not None:
        document_reingest(document=job.document, batch=job.batch)
