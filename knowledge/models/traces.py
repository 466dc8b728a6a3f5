"""What was retrieved for an answer, to be looked up afterwards."""

from django.db import models

from knowledge.models.documents import Document


class RetrievalTrace(models.Model):
    """How an answer was grounded: the question as searched, every step, what was packed, cited and cut."""

    decision = models.CharField(max_length=40, db_index=True, help_text="The decision of the answer.")
    question = models.TextField(blank=True, default="", help_text="Kept only where the profile keeps prompts.")
    collections = models.JSONField(default=list)
    strength = models.FloatField(null=True)
    weak = models.BooleanField(default=False)
    trace = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.decision} {self.created_at:%Y-%m-%d %H:%M}"


class DocumentUse(models.Model):
    """How often a document was retrieved for answers and cited by them; it outlasts the traces it is counted from."""

    document = models.OneToOneField(Document, on_delete=models.CASCADE, primary_key=True, related_name="use")
    retrieved = models.PositiveBigIntegerField(default=0)
    retrieved_at = models.DateTimeField(null=True, blank=True, help_text="When it was retrieved last.")
    cited = models.PositiveBigIntegerField(default=0)
    cited_at = models.DateTimeField(null=True, blank=True, help_text="When it was cited last.")

    def __str__(self) -> str:
        return f"{self.document_id}: {self.retrieved}"
