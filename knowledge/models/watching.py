"""Sources outside that are looked at again and again."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from knowledge.models.collections import Collection


class WatchedSource(models.Model):
    """A folder, sitemap, feed or git repository whose documents a collection follows.

    ``seen`` is what the last look found, for the next one to know what changed.
    """

    class Kind(models.TextChoices):
        FOLDER = "folder", "folder"
        SITEMAP = "sitemap", "sitemap"
        FEED = "feed", "feed"
        GIT = "git", "git repository"

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="watched_sources")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    location = models.CharField(
        max_length=2000, help_text="The folder's path on the server, or the address of sitemap, feed or repository."
    )
    branch = models.CharField(
        max_length=200, blank=True, default="", help_text="Of a repository. Empty: its usual one."
    )
    pattern = models.CharField(
        max_length=500, blank=True, default="", help_text="Which files or addresses, for example <i>docs/**/*.md</i>."
    )
    every_minutes = models.PositiveIntegerField(default=60, validators=[MinValueValidator(1)])
    enabled = models.BooleanField(default=True)
    seen = models.JSONField(blank=True, default=dict, editable=False)
    last_looked_at = models.DateTimeField(null=True, blank=True, editable=False)
    next_look_at = models.DateTimeField(default=timezone.now, editable=False, db_index=True)
    looking_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Whoever looks at it keeps putting this off; nobody else looks before.",
    )
    accepts_loss = models.BooleanField(
        default=False, editable=False, help_text="The next look believes that most of its documents are gone."
    )
    outcome = models.TextField(blank=True, default="", editable=False, help_text="What the last look found.")
    error = models.TextField(blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["collection", "location"]
        constraints = [
            models.UniqueConstraint(fields=["collection", "kind", "location", "branch"], name="knowledge_watched_once")
        ]

    def __str__(self) -> str:
        return self.location
