"""Ingestion jobs: what is being read, how far it is, and how it ended."""

import uuid

from django.db import models

from knowledge.access import Access, Level
from knowledge.models.collections import Collection
from knowledge.models.documents import Document, DocumentRevision
from knowledge.models.embeddingmodels import EmbeddingModel


class JobState(models.TextChoices):
    QUEUED = "queued", "waiting"
    RUNNING = "running", "running"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class Stage(models.TextChoices):
    WAITING = "waiting", "waiting"
    FETCHING = "fetching", "fetching"
    PARSING = "parsing", "reading"
    CHUNKING = "chunking", "cutting"
    EMBEDDING = "embedding", "embedding"
    PUBLISHING = "publishing", "publishing"
    FINISHED = "finished", "finished"


class JobQuerySet(models.QuerySet["IngestionJob"]):
    def open_to(self, access: Access, level: Level = Level.READ) -> "JobQuerySet":
        """Jobs of the collections that somebody may use at ``level``."""
        if access.is_boundless:
            return self
        return self.filter(collection__in=Collection.objects.open_to(access, level))

    def unfinished(self) -> "JobQuerySet":
        return self.filter(state__in=(JobState.QUEUED, JobState.RUNNING))


class IngestionJob(models.Model):
    class Kind(models.TextChoices):
        DOCUMENT = "document", "document"
        SITEMAP = "sitemap", "sitemap"
        EMBEDDING = "embedding", "new vectors of a collection"
        FILLING = "filling", "vectors of another model, beside those that are searched"
        DROPPING = "dropping", "vectors that are not needed any more, deleted"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    batch = models.UUIDField(default=uuid.uuid4, editable=False, db_index=True, help_text="Of jobs asked for together.")
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.DOCUMENT)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="jobs")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, null=True, blank=True, related_name="jobs")
    revision = models.ForeignKey(DocumentRevision, on_delete=models.CASCADE, null=True, blank=True, related_name="jobs")
    url = models.CharField(max_length=2000, blank=True, default="", help_text="What is to be fetched first.")
    embedding_model = models.ForeignKey(
        EmbeddingModel,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="What a collection is to be embedded by.",
    )
    metadata = models.JSONField(blank=True, default=dict, help_text="Put on the documents that it makes.")
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    stage = models.CharField(max_length=12, choices=Stage.choices, default=Stage.WAITING)
    done = models.PositiveIntegerField(default=0, help_text="Of the stage's total.")
    total = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Runs that began, resumed ones included.")
    failures = models.PositiveSmallIntegerField(
        default=0, help_text="How often it went wrong and was put back into the queue."
    )
    result = models.CharField(max_length=20, blank=True, default="", help_text="created, updated or unchanged.")
    error_code = models.CharField(max_length=50, blank=True, default="")
    error = models.TextField(blank=True, default="")
    queue_id = models.BigIntegerField(null=True, blank=True, editable=False, help_text="The queue's own job.")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["state", "created_at"], name="knowledge_job_state")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.id}"

    @property
    def is_finished(self) -> bool:
        return self.state in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)
