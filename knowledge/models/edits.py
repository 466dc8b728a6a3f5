"""What people changed of chunks; it is put on what is parsed, so that it outlasts every new reading."""

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords

from knowledge.models.documents import Document
from knowledge.models.keeping import NamedHistory


class ChunkEditQuerySet(models.QuerySet["ChunkEdit"]):
    def in_force(self) -> "ChunkEditQuerySet":
        """Edits that are put on what is parsed, those in conflict included."""
        return self.exclude(state=ChunkEdit.State.WITHDRAWN)


class ChunkEdit(models.Model):
    """A change of some consecutive pieces of a document, as they were parsed, into others.

    ``originals`` are those pieces, objects with ``text``, ``heading`` and ``page``, by which they are found again in a
    new reading; ``before`` and ``after`` are the texts around them, ``ordinal`` is the place of the first. ``texts``
    stand in their place, objects with ``text``, ``heading`` and ``enabled``: one where they were edited or merged,
    several where one was split, and as before but not enabled where they were disabled. In a conflict the source
    changed at that place: the edit stays in force, and ``theirs`` is what the source says there now (null where nothing
    is left).

    What it changes into what is never changed itself: who edits again makes another edit, and withdraws this one.
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
    originals = models.JSONField(blank=True, default=list)
    before = models.TextField(blank=True, default="")
    after = models.TextField(blank=True, default="")
    ordinal = models.PositiveIntegerField(default=0)
    texts = models.JSONField(blank=True, default=list)
    theirs = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True, default="", help_text="Why it was changed.")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    author_name = models.CharField(max_length=200, blank=True, default="", help_text="Who made it: a key or a person.")
    replaced_by = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="replaces",
        help_text="The edit that took its place.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ChunkEditQuerySet.as_manager()
    history = HistoricalRecords(
        history_change_reason_field=models.TextField(null=True), cascade_delete_history=True, bases=[NamedHistory]
    )

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["document", "state"], name="knowledge_edit_state")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.document}"
