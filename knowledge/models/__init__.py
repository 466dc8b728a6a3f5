"""The knowledge base's tables, one noun a module."""

from knowledge.models.chunks import Chunk, ChunkState, Embedding, Posting
from knowledge.models.collections import Collection, Grant
from knowledge.models.dismissals import Dismissal
from knowledge.models.documents import (
    Document,
    DocumentRevision,
    DocumentStatus,
    FileBatch,
    RevisionState,
    StoredContent,
    StoredFile,
)
from knowledge.models.edits import ChunkEdit
from knowledge.models.embeddingmodels import EmbeddingModel, EmbeddingSource
from knowledge.models.evaluation import EvaluationRun, GoldenQuery
from knowledge.models.jobs import IngestionJob, JobState, Stage
from knowledge.models.traces import DocumentUse, RetrievalTrace
from knowledge.models.watching import WatchedSource

__all__ = [
    "Chunk",
    "ChunkEdit",
    "ChunkState",
    "Collection",
    "Dismissal",
    "Document",
    "DocumentRevision",
    "DocumentStatus",
    "DocumentUse",
    "Embedding",
    "EmbeddingModel",
    "EmbeddingSource",
    "EvaluationRun",
    "FileBatch",
    "GoldenQuery",
    "Grant",
    "IngestionJob",
    "JobState",
    "Posting",
    "RetrievalTrace",
    "RevisionState",
    "Stage",
    "StoredContent",
    "StoredFile",
    "WatchedSource",
]
