"""What people changed of chunks; it is put on what is parsed, so that it outlasts every new reading."""

from django.conf import settings
from django.db import models

from knowledge.models.documents import Document


class ChunkEdit(models.Model):
    """A change of some consecutive pieces of a document, as they were parsed, into others.

    ``originals`` are those pieces, objects with ``text`` and ``heading``, by which they are found again in a new
    reading; ``before`` and ``after`` are the texts around them. ``texts`` stand in their place: one where they were
    edited or merged, several where one was split, none where they were disabled. In a conflict the source changed at
    that place: the edit stays in force, and ``theirs`` is what the source says there now (null where nothing is left).
    """

    class Kind(models.TextChoices):
        EDIT = "edit", "edited"
        SPLIT = "split", "split"
        MERGE = "merge", "merged"
        DISABLE = "disable", "disabled"

    class State(models.TextChoices):
        ACTIVE = "active", "in force"
        CONFLICT = "conflict", "in force, and the source changed"
        WITHDRAWN = "withdrawn", "withdrawn"

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="edits")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    originals = models.JSONField(default=list)
    before = models.TextField(blank=True, default="")
    after = models.TextField(blank=True, default="")
    texts = models.JSONField(blank=True, default=list)
    theirs = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True, default="", help_text="Why it was changed.")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["document", "state"], name="knowledge_edit_state")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.document}"
