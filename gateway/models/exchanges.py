"""Prompts and answers, where somebody turned on that they are kept."""

from django.db import models


class Exchange(models.Model):
    """What was asked and answered; deleted after TEXT_RETENTION_DAYS.

    ``id`` is what clients know it by: a response's id (resp_…), else the decision's.
    """

    id = models.CharField(primary_key=True, max_length=64)
    created_at = models.DateTimeField(db_index=True)
    what = models.CharField(max_length=30, help_text="The kind of request.")
    key = models.ForeignKey("gateway.ApiKey", on_delete=models.CASCADE, null=True, related_name="+")
    request_id = models.CharField(max_length=200)
    decision = models.CharField(max_length=40, blank=True, default="")
    previous = models.CharField(max_length=64, blank=True, default="", help_text="The one that it continues.")
    asked = models.CharField(max_length=300)
    expert = models.CharField(max_length=300, blank=True, default="")
    because = models.CharField(max_length=120, help_text="Whose setting keeps it: key, group or a collection.")
    request = models.JSONField(default=dict)
    answer = models.JSONField(default=dict)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "kept text"

    def __str__(self) -> str:
        return self.id
