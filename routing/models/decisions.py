"""What is kept of the router's decisions."""

from django.db import models


class DecisionRecord(models.Model):
    """A decision as it was; experts and rules by name, as they may be gone when it is read."""

    id = models.CharField(primary_key=True, max_length=40)
    created_at = models.DateTimeField(db_index=True)
    asked = models.CharField(max_length=300)
    expert = models.CharField(max_length=300)
    answered_by = models.CharField(max_length=300, blank=True, default="", help_text="If another than the expert did.")
    replica = models.CharField(max_length=300, blank=True, default="")
    route = models.CharField(max_length=20)
    confidence = models.FloatField(null=True)
    language = models.CharField(max_length=8, blank=True, default="")
    key_name = models.CharField(max_length=200, blank=True, default="")
    key_id = models.BigIntegerField(null=True, help_text="Whose it is: names may be those of several keys.")
    request_id = models.CharField(max_length=200, blank=True, default="")
    outcome = models.CharField(max_length=100, blank=True, default="")
    milliseconds = models.FloatField(default=0, help_text="What deciding took.")
    why = models.JSONField(default=dict, help_text="Candidates, stages, rules, filters and times.")
    prompt = models.TextField(blank=True, default="", help_text="Kept only where the profile says so.")

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "decision"
        indexes = [models.Index(fields=["expert", "-created_at"]), models.Index(fields=["route", "-created_at"])]

    def __str__(self) -> str:
        return self.id
