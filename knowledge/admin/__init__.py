"""The pages on which an administrator keeps the knowledge base."""

from knowledge.admin.chunks import ChunkAdmin
from knowledge.admin.collections import CollectionAdmin
from knowledge.admin.documents import DocumentAdmin
from knowledge.admin.embeddingmodels import EmbeddingModelAdmin
from knowledge.admin.golden import EvaluationRunAdmin, GoldenQueryAdmin
from knowledge.admin.jobs import IngestionJobAdmin
from knowledge.admin.traces import RetrievalTraceAdmin

__all__ = [
    "ChunkAdmin",
    "CollectionAdmin",
    "DocumentAdmin",
    "EmbeddingModelAdmin",
    "EvaluationRunAdmin",
    "GoldenQueryAdmin",
    "IngestionJobAdmin",
    "RetrievalTraceAdmin",
]
