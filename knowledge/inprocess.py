"""The embedding models of this process, which are always there."""

from typing import Any

from knowledge.embedding import MINILM, MULTILINGUAL
from knowledge.models import EmbeddingModel, EmbeddingSource

# Their floors and ceilings are cosines measured on four collections (docs/knowledge.md): of questions to passages of
# another subject, and to passages that answer them.
MODELS: dict[str, dict[str, Any]] = {
    MINILM: {"dimensions": 384, "max_tokens": 254, "languages": ["en"], "floor": 0.1, "ceiling": 0.6},
    MULTILINGUAL: {
        "dimensions": 384,
        "max_tokens": 500,
        "query_prefix": "query: ",
        "passage_prefix": "passage: ",
        "floor": 0.76,
        "ceiling": 0.88,
    },
}


def embedding_models_ensure() -> None:
    """Add the models of this process where they are missing; what an administrator changed of them stays."""
    for name, fields in MODELS.items():
        EmbeddingModel.objects.get_or_create(name=name, defaults=fields | {"source": EmbeddingSource.IN_PROCESS})
