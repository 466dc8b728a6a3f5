"""What a collection is measured with, and what came of it."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from simple_history.models import HistoricalRecords

from knowledge.models.collections import Collection
from knowledge.models.documents import Document
from knowledge.models.embeddingmodels import EmbeddingModel
from knowledge.models.keeping import NamedHistory


class GoldenQuery(models.Model):
    """A question whose right passages are known: those of given documents, or those that hold an answer."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="golden_queries")
    query = models.TextField(help_text="As a user would ask it.")
    documents = models.ManyToManyField(Document, blank=True, related_name="+", help_text="Documents that answer it.")
    answers = ArrayField(
        models.TextField(),
        blank=True,
        default=list,
        help_text="Texts, one a line, of which a right passage holds one; upper and lower case are alike.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    history = HistoricalRecords(m2m_fields=[documents], cascade_delete_history=True, bases=[NamedHistory])

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "golden queries"

    def __str__(self) -> str:
        return self.query[:80]

    def clean(self) -> None:
        if not self.query.strip():
            raise ValidationError({"query": "Enter a question."})


class EvaluationRun(models.Model):
    """One measurement of a collection: with which settings, and each figure."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="evaluations")
    settings = models.JSONField(default=dict, help_text="How the collection was searched.")
    queries = models.PositiveIntegerField()
    measures = models.JSONField(default=dict, help_text="nDCG and recall, and milliseconds a query.")
    embedding_model = models.ForeignKey(
        EmbeddingModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    reason = models.CharField(max_length=200, blank=True, default="", help_text="What it was measured for.")
    details = models.JSONField(default=list, editable=False, help_text="What each question found.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.collection} {self.created_at:%Y-%m-%d %H:%M}"
