"""What somebody looked at and found to be fine."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Dismissal(models.Model):
    """Signals of a text that mean nothing bad; chunks of that text, wherever and whenever, are not flagged for them."""

    hash = models.CharField(max_length=64, unique=True, editable=False, help_text="Of the chunks it is about.")
    signals = ArrayField(models.CharField(max_length=40), editable=False)
    excerpt = models.CharField(max_length=200, blank=True, default="", editable=False)
    reason = models.TextField(blank=True, default="", help_text="Why it is fine.")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    author_name = models.CharField(max_length=200, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "text found to be fine"
        verbose_name_plural = "texts found to be fine"

    def __str__(self) -> str:
        return self.excerpt or self.hash[:12]
