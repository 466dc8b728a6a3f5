"""Which rows an archive holds, and what in them refers to other rows.

A row is carried with the id it has; whoever imports it gives it another one, and everything that refers to it too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, Field, Model, OuterRef, Q, QuerySet

from knowledge.archive.layout import CONTENTS
from knowledge.models import (
    Chunk,
    ChunkEdit,
    ChunkState,
    Collection,
    Document,
    DocumentRevision,
    DocumentUse,
    EmbeddingModel,
    EvaluationRun,
    GoldenQuery,
    RevisionState,
    StoredContent,
    StoredFile,
    WatchedSource,
)

COLLECTION = "collection"
"""What refers to the collection itself; it is not written down, as there is one."""
EXPERTS = "experts"
"""Carried by their slugs: they belong to the installation, not to the collection."""
OWN = frozenset({"author", "reviewer", "created_by", "history_user", "key", "group"})
"""Accounts, keys and groups of an installation; the names that stand beside them are carried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``rows`` gives those of a collection, ``references`` the table each column of an id of its rows refers to."""

    name: str
    model: type[Model]
    rows: Callable[[Collection], "QuerySet[Any]"]
    references: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @property
    def key(self) -> "Field[Any, Any]":
        key: Field[Any, Any] = self.model._meta.pk
        return key

    @property
    def columns(self) -> "tuple[Field[Any, Any], ...]":
        """The columns of the table in the database."""
        return tuple(self.model._meta.concrete_fields)

    @property
    def fields(self) -> "tuple[Field[Any, Any], ...]":
        """The columns that are carried."""
        own = OWN | self.left_out
        return tuple(one for one in self.columns if one.name not in own and self.references.get(one.name) != COLLECTION)


def _where(model: type[Model], path: str) -> Callable[[Collection], "QuerySet[Any]"]:
    """Return what gives the rows from which ``path`` leads to a collection."""

    def rows(collection: Collection) -> "QuerySet[Any]":
        return model._default_manager.filter(**{path: collection.pk}).order_by("pk")

    return rows


def models_of(collection: Collection) -> "QuerySet[EmbeddingModel]":
    """Return the models whose vectors a collection keeps, and those it was measured with."""
    kept = (collection.embedding_model_id, collection.previous_model_id, collection.next_model_id)
    measured = EvaluationRun.objects.filter(collection=collection).values("embedding_model")
    history = Collection.history.filter(id=collection.pk)
    former = Q(pk__in=history.values("embedding_model")) | Q(pk__in=measured)
    return EmbeddingModel.objects.filter(Q(pk__in=[pk for pk in kept if pk]) | former).order_by("pk")


def chunks_of(collection: Collection) -> "QuerySet[Chunk]":
    """Return a collection's chunks without those of a reading that is not done."""
    waiting = DocumentRevision.objects.filter(
        document=OuterRef("document"),
        number=OuterRef("revision"),
        state__in=(RevisionState.PENDING, RevisionState.REVIEW),
    ).exclude(chunk_ids=[])
    rows = Chunk.objects.filter(collection=collection)
    return rows.filter(~Q(state=ChunkState.STAGED) | Exists(waiting)).order_by("pk")


def files_of(collection: Collection) -> "QuerySet[StoredFile]":
    shelved = Document.objects.filter(file=OuterRef("pk"), collection=collection)
    return StoredFile.objects.filter(Exists(shelved)).order_by("pk")


def contents_of(collection: Collection) -> "QuerySet[StoredContent]":
    mine = Q(revisions__document__collection=collection) | Q(files__documents__collection=collection)
    return StoredContent.objects.filter(mine).order_by("pk").distinct()


_EMBEDDED = dict.fromkeys(("embedding_model", "previous_model", "next_model"), "embedding_models")
_RUN_BY = {"reranker": EXPERTS, "condenser": EXPERTS}

MODELS = Table(
    name="embedding_models",
    model=EmbeddingModel,
    rows=models_of,
    left_out=frozenset({"indexed"}),
)
COLLECTIONS = Table(
    name="collections",
    model=Collection,
    rows=_where(Collection, "pk"),
    references=_EMBEDDED | _RUN_BY,
    left_out=frozenset({"scratch", "chunk_count", "term_count", "last_active_at"}),
)
COLLECTION_HISTORY = Table(
    name="collection_history",
    model=Collection.history.model,
    rows=_where(Collection.history.model, "id"),
    references={"id": COLLECTION} | _EMBEDDED | _RUN_BY,
    left_out=frozenset({"scratch"}),
)
WATCHED = Table(
    name="watched_sources",
    model=WatchedSource,
    rows=_where(WatchedSource, "collection"),
    references={"collection": COLLECTION},
    left_out=frozenset({"seen", "last_looked_at", "next_look_at", "looking_until", "accepts_loss", "outcome", "error"}),
)
ORIGINALS = Table(
    name=CONTENTS,
    model=StoredContent,
    rows=contents_of,
    left_out=frozenset({"data"}),
)
"""Not one of TABLES: their bytes come along."""
FILES = Table(
    name="files",
    model=StoredFile,
    rows=files_of,
    references={"content": CONTENTS},
)
DOCUMENTS = Table(
    name="documents",
    model=Document,
    rows=_where(Document, "collection"),
    references={"collection": COLLECTION, "file": "files", "watch": "watched_sources"},
    left_out=frozenset({"status"}),
)
USES = Table(
    name="uses",
    model=DocumentUse,
    rows=_where(DocumentUse, "document__collection"),
    references={"document": "documents"},
)
EDITS = Table(
    name="edits",
    model=ChunkEdit,
    rows=_where(ChunkEdit, "document__collection"),
    references={"document": "documents", "replaced_by": "edits"},
)
EDIT_HISTORY = Table(
    name="edit_history",
    model=ChunkEdit.history.model,
    rows=_where(ChunkEdit.history.model, "document__collection"),
    references={"id": "edits", "document": "documents", "replaced_by": "edits"},
)
CHUNKS = Table(
    name="chunks",
    model=Chunk,
    rows=chunks_of,
    references={"collection": COLLECTION, "document": "documents", "edit": "edits"},
)
REVISIONS = Table(
    name="revisions",
    model=DocumentRevision,
    rows=_where(DocumentRevision, "document__collection"),
    references={"document": "documents", "content": CONTENTS},
)
GOLDEN_QUERIES = Table(
    name="golden_queries",
    model=GoldenQuery,
    rows=_where(GoldenQuery, "collection"),
    references={"collection": COLLECTION},
)
GOLDEN_DOCUMENTS = Table(
    name="golden_documents",
    model=GoldenQuery.documents.through,
    rows=_where(GoldenQuery.documents.through, "document__collection"),
    references={"goldenquery": "golden_queries", "document": "documents"},
)
GOLDEN_HISTORY = Table(
    name="golden_history",
    model=GoldenQuery.history.model,
    rows=_where(GoldenQuery.history.model, "collection"),
    references={"id": "golden_queries", "collection": COLLECTION},
)
GOLDEN_HISTORY_DOCUMENTS = Table(
    name="golden_history_documents",
    model=GoldenQuery.history.model.documents.model,
    rows=_where(GoldenQuery.history.model.documents.model, "document__collection"),
    references={"goldenquery": "golden_queries", "document": "documents", "history": "golden_history"},
    left_out=frozenset({"id"}),
)
EVALUATIONS = Table(
    name="evaluations",
    model=EvaluationRun,
    rows=_where(EvaluationRun, "collection"),
    references={"collection": COLLECTION, "embedding_model": "embedding_models"},
)

TABLES = (
    *(MODELS, COLLECTIONS, COLLECTION_HISTORY, WATCHED, FILES, DOCUMENTS, USES),
    *(EDITS, EDIT_HISTORY, CHUNKS, REVISIONS),
    *(GOLDEN_QUERIES, GOLDEN_DOCUMENTS, GOLDEN_HISTORY, GOLDEN_HISTORY_DOCUMENTS, EVALUATIONS),
)
"""All of them, each after those that its rows refer to, but for rows that refer to their own table."""
NAMES = frozenset(table.name for table in TABLES)
