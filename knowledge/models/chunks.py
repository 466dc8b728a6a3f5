"""Chunks, and what finds them: their vectors and their terms."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from pgvector.django import VectorField

from knowledge.models.collections import Collection
from knowledge.models.documents import Document
from knowledge.models.edits import ChunkEdit
from knowledge.models.embeddingmodels import EmbeddingModel


class ChunkState(models.TextChoices):
    STAGED = "staged", "being made"
    LIVE = "live", "live"
    RETIRED = "retired", "of an earlier revision"


class ChunkQuerySet(models.QuerySet["Chunk"]):
    def live(self) -> "ChunkQuerySet":
        """Chunks of the revisions that are found, disabled ones included."""
        return self.filter(state=ChunkState.LIVE)

    def flagged(self) -> "ChunkQuerySet":
        """Live chunks in which something speaks to a model, and nobody said that it is fine."""
        return self.live().exclude(signals=[])

    def findable(self) -> "ChunkQuerySet":
        return self.filter(state=ChunkState.LIVE, enabled=True, document__enabled=True)


class Chunk(models.Model):
    """A piece of a document; its text never changes, a changed text is another chunk."""

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="chunks")
    document = models.ForeignKey(Document, on_delete=models.CASCADE, related_name="chunks")
    revision = models.PositiveIntegerField(help_text="The first revision it belongs to.")
    ordinal = models.PositiveIntegerField(help_text="Its place in the document, from 0.")
    state = models.CharField(max_length=8, choices=ChunkState.choices, default=ChunkState.STAGED)
    enabled = models.BooleanField(default=True, help_text="One that is disabled is kept and not found.")
    text = models.TextField()
    heading = models.CharField(max_length=1000, blank=True, default="", help_text="The headings above it.")
    page = models.PositiveIntegerField(null=True, blank=True)
    tokens = models.PositiveIntegerField(default=0, help_text="Of the embedding model, headings included.")
    language = models.CharField(max_length=8, blank=True, default="")
    edit = models.ForeignKey(
        ChunkEdit,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="chunks",
        help_text="The edit that it is the outcome of.",
    )
    signals = ArrayField(
        models.CharField(max_length=40),
        blank=True,
        default=list,
        editable=False,
        help_text="What in it looks like instructions to a model rather than like text for people.",
    )
    hash = models.CharField(max_length=64, help_text="SHA-256 of what is embedded: title, headings and text.")

    objects = ChunkQuerySet.as_manager()

    class Meta:
        ordering = ["document_id", "ordinal"]
        indexes = [
            models.Index(fields=["document", "state", "ordinal"], name="knowledge_chunk_document"),
            models.Index(fields=["hash"], name="knowledge_chunk_hash"),
            models.Index(fields=["collection"], name="knowledge_chunk_flagged", condition=~Q(signals=[])),
        ]
        constraints = [
            # A run that was taken for dead and goes on all the same must not stage what its successor staged.
            models.UniqueConstraint(
                fields=["document", "revision", "ordinal"],
                condition=Q(state=ChunkState.STAGED),
                name="knowledge_chunk_staged_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.document_id} · {self.ordinal}"


class Embedding(models.Model):
    """A chunk's vector by one model.

    The column has no dimension, so that models of any width share the table; each model that has enough vectors gets
    a partial HNSW index on it, made at run time (see knowledge/vectors.py). ``findable`` repeats what chunk and
    document say, so that an index scan needs no join.
    """

    pk = models.CompositePrimaryKey("chunk_id", "embedding_model_id")
    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="embeddings")
    embedding_model = models.ForeignKey(EmbeddingModel, on_delete=models.CASCADE, related_name="embeddings")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="+", db_index=False)
    findable = models.BooleanField(default=False)
    vector = VectorField()

    class Meta:
        indexes = [
            models.Index(
                fields=["collection", "embedding_model"],
                name="knowledge_embedding_findable",
                condition=Q(findable=True),
            )
        ]

    def __str__(self) -> str:
        return f"{self.chunk_id} by {self.embedding_model_id}"


class Posting(models.Model):
    """How often a term stands in a findable chunk, and how many terms the chunk has: what BM25 is computed from.

    ``term`` is a hash of the term (see knowledge/terms.py).
    """

    pk: Any = models.CompositePrimaryKey("collection_id", "term", "chunk_id")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="+", db_index=False)
    term = models.IntegerField()
    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="postings")
    frequency = models.PositiveSmallIntegerField()
    length = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.term} in {self.chunk_id}"
