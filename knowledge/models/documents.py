"""Documents, their revisions, and the bytes they were made of."""

import uuid

from django.conf import settings
from django.contrib.postgres.functions import RandomUUID
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from knowledge.access import Access, Level
from knowledge.models.collections import Collection


class StoredContent(models.Model):
    """Bytes that a document was made of, kept once each; in the database, where every machine's workers find them."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    data = models.BinaryField()
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.sha256[:12]


FILE_START = "file-"
"""How the id of a file begins."""
BATCH_START = "vsfb_"
"""How the id of a batch of files begins."""


class StoredFileQuerySet(models.QuerySet["StoredFile"]):
    def owned_by(self, access: Access) -> "StoredFileQuerySet":
        """Files that somebody uploaded, or another key of the same group."""
        if access.everything:
            return self
        return self.filter(self._owners(access))

    def open_to(self, access: Access) -> "StoredFileQuerySet":
        """Files that somebody owns, and those in collections that may be read.

        Those of others in its group do not count as owned where they are only in collections that may not be read.
        """
        if access.is_boundless:
            return self
        shelved = Document.objects.filter(file=OuterRef("pk"))
        owned = Q() if access.everything else self._owners(access)
        if access.narrowed:
            own = Q(pk__in=()) if access.key_id is None else Q(key_id=access.key_id)
            owned = own | (owned & Q(~Exists(shelved)))
        return self.filter(owned | Q(Exists(shelved.open_to(access))))

    def expired(self) -> "StoredFileQuerySet":
        return self.filter(expires_at__lte=Now())

    def unexpired(self) -> "StoredFileQuerySet":
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))

    @staticmethod
    def _owners(access: Access) -> Q:
        own = Q(pk__in=()) if access.key_id is None else Q(key_id=access.key_id)
        return own | Q(group=access.group) if access.group else own


class StoredFile(models.Model):
    """A file as the Files API keeps it; ``key`` and ``group`` say whose it is."""

    uid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=500)
    purpose = models.CharField(max_length=40)
    content = models.ForeignKey(StoredContent, on_delete=models.PROTECT, related_name="files")
    size = models.PositiveBigIntegerField()
    key = models.ForeignKey("gateway.ApiKey", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    group = models.CharField(max_length=100, blank=True, default="")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects = StoredFileQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def public_id(self) -> str:
        return f"{FILE_START}{self.uid.hex}"


class DocumentStatus(models.TextChoices):
    PENDING = "pending", "waiting"
    PROCESSING = "processing", "being read"
    READY = "ready", "ready"
    FAILED = "failed", "failed"


class DocumentQuerySet(models.QuerySet["Document"]):
    def open_to(self, access: Access, level: Level = Level.READ) -> "DocumentQuerySet":
        """Documents of the collections that somebody may use at ``level``."""
        if access.is_boundless:
            return self
        return self.filter(collection__in=Collection.objects.open_to(access, level))

    def live(self) -> "DocumentQuerySet":
        """Documents that can be found."""
        return self.filter(enabled=True, revision__gt=0)

    def outdated(self, collection: Collection) -> "DocumentQuerySet":
        """Documents of ``collection`` whose live revision was made by other settings than count now."""
        rows = self.filter(collection=collection)
        alike = Q(pk__in=())
        for tokens, overlap in rows.order_by().values_list("chunk_tokens", "chunk_overlap").distinct():
            recipe = collection.recipe_for(*collection.cut_of(tokens, overlap))
            alike |= Q(document__chunk_tokens=tokens, document__chunk_overlap=overlap, recipe=recipe)
        live = DocumentRevision.objects.filter(document__collection=collection, state=RevisionState.LIVE)
        return rows.filter(pk__in=live.exclude(alike).values("document"))


class Document(models.Model):
    class Origin(models.TextChoices):
        UPLOAD = "upload", "uploaded"
        TEXT = "text", "text"
        URL = "url", "fetched from its address"

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="documents")
    source = models.CharField(
        max_length=1000, help_text="What it is recognised by when it comes again: its file name, path or address."
    )
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.UPLOAD)
    title = models.CharField(max_length=500, blank=True, default="")
    url = models.CharField(max_length=2000, blank=True, default="", help_text="Where people find the original.")
    mime = models.CharField(max_length=150, blank=True, default="")
    language = models.CharField(max_length=8, blank=True, default="", help_text="Empty: it is recognised.")
    metadata = models.JSONField(blank=True, default=dict, help_text="What searches may filter by.")
    uid = models.UUIDField(unique=True, default=uuid.uuid4, db_default=RandomUUID(), editable=False)
    file = models.ForeignKey(
        StoredFile,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="documents",
        help_text="The uploaded file that it was made of, where it came that way.",
    )
    watch = models.ForeignKey(
        "knowledge.WatchedSource",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="documents",
        help_text="The watched source that it comes from.",
    )
    missing_since = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Since when it is not in its watched source any more."
    )
    chunk_tokens = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(32), MaxValueValidator(2000)],
        help_text="Longest chunk in tokens, where it is not to be cut as its collection's others are.",
    )
    chunk_overlap = models.PositiveIntegerField(null=True, blank=True, validators=[MaxValueValidator(1000)])
    enabled = models.BooleanField(default=True, help_text="One that is disabled is kept and not found.")
    revision = models.PositiveIntegerField(
        default=0, editable=False, help_text="The revision that is found; 0: none was ready yet."
    )
    status = models.CharField(max_length=12, choices=DocumentStatus.choices, default=DocumentStatus.PENDING)
    error = models.TextField(
        blank=True, default="", help_text="Why the last revision could not be read; an earlier one stays as it is."
    )
    warnings = models.JSONField(blank=True, default=list)
    etag = models.CharField(max_length=300, blank=True, default="", editable=False)
    last_modified = models.CharField(max_length=100, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at", "-id"]
        constraints = [models.UniqueConstraint(fields=["collection", "source"], name="knowledge_document_source")]
        indexes = [models.Index(fields=["collection", "status"], name="knowledge_document_status")]

    def __str__(self) -> str:
        return self.title or self.source

    @property
    def public_id(self) -> str:
        """What it is called as a file of a vector store, where it did not come as one."""
        return f"{FILE_START}{self.uid.hex}"

    @property
    def cut(self) -> tuple[int, int]:
        """The tokens of its longest chunk and those that are repeated, by its own wish or its collection's."""
        return self.collection.cut_of(self.chunk_tokens, self.chunk_overlap)

    @property
    def recipe(self) -> str:
        """What its revisions are made by now; one made by another recipe is outdated."""
        return self.collection.recipe_for(*self.cut)


class RevisionState(models.TextChoices):
    PENDING = "pending", "waiting"
    REVIEW = "review", "waits for review"
    LIVE = "live", "live"
    REJECTED = "rejected", "rejected"
    SUPERSEDED = "superseded", "superseded"
    FAILED = "failed", "failed"


class DocumentRevision(models.Model):
    """A version of a document; the chunks of every one that was live are kept, so that old citations still open."""

    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    content = models.ForeignKey(StoredContent, on_delete=models.PROTECT, related_name="revisions")
    name = models.CharField(max_length=500, help_text="The file's name, which tells formats of text apart.")
    declared_mime = models.CharField(max_length=150, blank=True, default="")
    state = models.CharField(max_length=12, choices=RevisionState.choices, default=RevisionState.PENDING)
    recipe = models.CharField(max_length=100, blank=True, default="", help_text="The settings it was made with.")
    title = models.CharField(max_length=500, blank=True, default="")
    metadata = models.JSONField(blank=True, default=dict, help_text="What the file says of itself.")
    warnings = models.JSONField(blank=True, default=list)
    error = models.TextField(blank=True, default="")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    author_name = models.CharField(max_length=200, blank=True, default="", help_text="Who made it: a key or a person.")
    reason = models.TextField(blank=True, default="", help_text="Why it was made.")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    reviewer_name = models.CharField(max_length=200, blank=True, default="")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    review_note = models.TextField(blank=True, default="")
    held_back = models.JSONField(
        blank=True, default=dict, help_text="What the gate found, where it kept the revision from going live."
    )
    mime = models.CharField(max_length=150, blank=True, default="", help_text="What its content was found to be.")
    restores = models.PositiveIntegerField(
        null=True, blank=True, editable=False, help_text="The number of the revision whose text it brings back."
    )
    # Ids of its chunks in reading order; a chunk that did not change belongs to several revisions. One that waits and
    # has them already was put together from chunks and is not to be read (knowledge/curation/composing.py).
    chunk_ids = models.JSONField(blank=True, default=list, editable=False)
    # The edits in force in it, objects with "id", and in a conflict "theirs".
    edits = models.JSONField(blank=True, default=list, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["document", "number"], name="knowledge_revision_number"),
            models.UniqueConstraint(
                fields=["document"], condition=Q(state=RevisionState.LIVE), name="knowledge_revision_one_live"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.document_id} r{self.number}"


class FileBatch(models.Model):
    """Files that were added to a collection together, by the vector store API."""

    uid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="file_batches")
    documents = models.ManyToManyField(Document, related_name="file_batches")
    created_at = models.DateTimeField(auto_now_add=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return f"{BATCH_START}{self.uid.hex}"
