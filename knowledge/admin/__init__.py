"""The pages on which an administrator keeps the knowledge base."""

from knowledge.admin.chunks import ChunkAdmin
from knowledge.admin.collections import CollectionAdmin
from knowledge.admin.documents import DocumentAdmin
from knowledge.admin.edits import ChunkEditAdmin
from knowledge.admin.embeddingmodels import EmbeddingModelAdmin
from knowledge.admin.evaluations import EvaluationRunAdmin
from knowledge.admin.flags import DismissalAdmin
from knowledge.admin.golden import GoldenQueryAdmin
from knowledge.admin.jobs import IngestionJobAdmin
from knowledge.admin.reviews import DocumentRevisionAdmin
from knowledge.admin.storedfiles import StoredFileAdmin
from knowledge.admin.traces import RetrievalTraceAdmin
from knowledge.admin.watching import WatchedSourceAdmin

__all__ = [
    "ChunkAdmin",
    "ChunkEditAdmin",
    "CollectionAdmin",
    "DismissalAdmin",
    "DocumentAdmin",
    "DocumentRevisionAdmin",
    "EmbeddingModelAdmin",
    "EvaluationRunAdmin",
    "GoldenQueryAdmin",
    "IngestionJobAdmin",
    "RetrievalTraceAdmin",
    "StoredFileAdmin",
    "WatchedSourceAdmin",
]
