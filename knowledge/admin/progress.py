"""How far jobs are, as pages show it, and the answer to pages that ask for it while they are looked at."""

import contextlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, F, FloatField, QuerySet, Sum, Value, When
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from knowledge.admin.wording import counted, duration
from knowledge.models import IngestionJob, JobState, Stage

MOST_PARTS = 200
"""Parts of a page that may be asked for at once."""
SHOWN_JOBS = 100
"""Jobs of a batch that its page lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """A job for people; ``share`` is how much of its stage is done, 0 to 100, None while that is not known.

    ``took`` is how long it ran, until now if it still does.
    """

    state: str
    words: str
    share: int | None
    unfinished: bool
    error: str
    took: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """Jobs that were asked for together: how many there are in each state, and how much of all is done, 0 to 100."""

    states: Mapping[str, int]
    share: int

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def unfinished(self) -> bool:
        return bool(self.states.get(JobState.QUEUED, 0) or self.states.get(JobState.RUNNING, 0))

    @property
    def failed(self) -> int:
        return self.states.get(JobState.FAILED, 0)

    @property
    def sentence(self) -> str:
        labels = dict(JobState.choices)
        told = [f"{number:,} {labels[JobState(state)]}" for state, number in self.states.items()]
        return f"{counted(self.total, 'job')}: {', '.join(told)}." if told else "There is no job."


# --- jobs -------------------------------------------------------------------------------------------------------


def progress_of(job: IngestionJob) -> JobProgress:
    return JobProgress(
        state=job.state,
        words=_words(job),
        share=_share(job),
        unfinished=not job.is_finished,
        error=job.error,
        took=_took(job),
    )


def _words(job: IngestionJob) -> str:
    if job.state == JobState.RUNNING:
        count = f" {job.done:,} of {job.total:,}" if job.total else ""
        return f"{job.get_stage_display()}{count}"
    if job.state == JobState.QUEUED and job.failures:
        return f"{job.get_state_display()}, to be tried again"
    if job.state == JobState.DONE and job.result:
        return f"{job.get_state_display()}, {job.result}"
    return str(job.get_state_display())


def _share(job: IngestionJob) -> int | None:
    if job.state == JobState.DONE:
        return 100
    if job.state == JobState.QUEUED:
        return 0
    return min(100, 100 * job.done // job.total) if job.total else None


def _took(job: IngestionJob) -> str:
    end = job.finished_at or (None if job.is_finished else timezone.now())
    return duration(end - job.started_at) if job.started_at and end else ""


def what_of(job: IngestionJob) -> str:
    """Return what a job reads, in a line."""
    if job.document is not None:
        return str(job.document)
    return job.url or f"all of {job.collection}"


def job_cell(job: IngestionJob) -> SafeString:
    """Return how far a job is, as a part of a page that renews itself until the job is finished."""
    return _part(f"job-{job.pk}", _job_html(job), unfinished=not job.is_finished)


def _job_html(job: IngestionJob) -> str:
    return render_to_string("admin/knowledge/ingestionjob/job_now.html", {"now": progress_of(job)})


# --- batches ----------------------------------------------------------------------------------------------------


def batch_progress(batch: uuid.UUID) -> BatchProgress:
    jobs = IngestionJob.objects.filter(batch=batch).order_by()
    rows = jobs.values_list("state").annotate(Count("pk"))
    states = {state: dict(rows).get(state, 0) for state in JobState.values}
    present = {state: number for state, number in states.items() if number}
    total = sum(present.values())
    finished = sum(states[state] for state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED))
    # A stage that is under way counts by its share; only embedding takes long.
    begun = Case(When(total__gt=0, then=F("done") * 1.0 / F("total")), default=0.0, output_field=FloatField())
    running = jobs.filter(state=JobState.RUNNING, stage=Stage.EMBEDDING).aggregate(share=Sum(begun))["share"] or 0.0
    return BatchProgress(states=present, share=int(100 * (finished + running) / total) if total else 0)


def batch_jobs(batch: uuid.UUID) -> "QuerySet[IngestionJob]":
    """Return the jobs of a batch, those to look at first: running, failed, waiting, then the others."""
    order = Case(
        *(When(state=state, then=Value(place)) for place, state in enumerate((JobState.RUNNING, JobState.FAILED))),
        When(state=JobState.QUEUED, then=Value(2)),
        default=Value(3),
    )
    jobs = IngestionJob.objects.filter(batch=batch).select_related("document", "collection")
    return jobs.order_by(order, "created_at", "pk")


def batch_cell(batch: uuid.UUID, *, sees_documents: bool) -> SafeString:
    """Return how far a batch is, as ``job_cell`` does for a job; names of documents are links for who may see them."""
    progress = batch_progress(batch)
    return _part(
        f"batch-{batch}", _batch_html(batch, progress, sees_documents=sees_documents), unfinished=progress.unfinished
    )


def _batch_html(batch: uuid.UUID, progress: BatchProgress, *, sees_documents: bool) -> str:
    jobs = [(job, what_of(job), progress_of(job)) for job in batch_jobs(batch)[:SHOWN_JOBS]]
    context = {
        "progress": progress,
        "jobs": jobs,
        "more": progress.total - len(jobs),
        "sees_documents": sees_documents,
    }
    return render_to_string("admin/knowledge/ingestionjob/batch_now.html", context)


# --- pages that ask ---------------------------------------------------------------------------------------------


def _part(name: str, html: str, *, unfinished: bool) -> SafeString:
    # The script is static/knowledge/progress.js.
    return format_html(
        '<div id="{}" data-live="{}"{}>{}</div>',
        name,
        reverse("admin:knowledge_progress"),
        SafeString(" data-unfinished") if unfinished else "",
        SafeString(html),
    )


def parts_now(names: Iterable[str], *, sees_documents: bool) -> dict[str, dict[str, Any]]:
    """Return the parts of a page called ``names`` as they are now, and whether they will change again."""
    asked = list(names)[:MOST_PARTS]
    found: dict[str, dict[str, Any]] = {}
    for job in IngestionJob.objects.filter(pk__in=_ids(asked, "job-")):
        found[f"job-{job.pk}"] = {"html": _job_html(job), "unfinished": not job.is_finished}
    for batch in _ids(asked, "batch-"):
        progress = batch_progress(batch)
        html = _batch_html(batch, progress, sees_documents=sees_documents)
        found[f"batch-{batch}"] = {"html": html, "unfinished": progress.unfinished}
    return found


def _ids(names: Iterable[str], kind: str) -> list[uuid.UUID]:
    found = []
    for name in names:
        if name.startswith(kind):
            with contextlib.suppress(ValueError):
                found.append(uuid.UUID(name.removeprefix(kind)))
    return found
