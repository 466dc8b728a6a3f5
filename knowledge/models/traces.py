"""What was retrieved for an answer, to be looked up afterwards."""

from django.db import models


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
