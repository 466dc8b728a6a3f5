"""Answers that may be given again, and what was taken back of them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from pgvector.django import VectorField


class CachedAnswer(models.Model):
    """An answer of temperature 0 to one request of one key, for as long as the profile or the endpoint keeps it.

    ``digest`` is of the request as it reached the model, and of whose it is. ``vector`` is of the question, where
    similar ones may be answered by it too; ``context`` is the digest of everything but that question. ``epoch`` is the
    last purge that was known when the answer was begun: later ones may cover it.
    """

    digest = models.CharField(max_length=64, unique=True)
    context = models.CharField(max_length=64, blank=True, default="")
    key = models.ForeignKey("gateway.ApiKey", on_delete=models.CASCADE, null=True, related_name="+")
    profile = models.CharField(max_length=300, blank=True, default="")
    asked = models.CharField(max_length=300)
    expert = models.CharField(max_length=300)
    question = models.TextField(blank=True, default="")
    embedder = models.CharField(max_length=200, blank=True, default="", help_text="What made the vector.")
    vector = VectorField(null=True)
    answer = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)
    epoch = models.BigIntegerField(default=0)
    hits = models.BigIntegerField(default=0)
    last_hit_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "answer given again"
        verbose_name_plural = "answers given again"
        indexes = [models.Index(fields=["context", "embedder"], name="cached_context")]

    def __str__(self) -> str:
        return self.question[:80] or self.digest[:12]


class CachePurge(models.Model):
    """Answers that are not given again: those named by digest, else those of the key or profile, else all.

    It holds for every process, whatever one still has in memory or has yet to write: for all answers that were begun
    before it was known. It is deleted when all that it covers has expired.
    """

    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    digests = ArrayField(models.CharField(max_length=64), blank=True, default=list)
    key_id = models.BigIntegerField(null=True)
    profile = models.CharField(max_length=300, null=True)  # noqa: DJ001 - "" are answers of no profile

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"purge {self.pk}"
