"""The models a collection may be embedded by."""

from rest_framework.request import Request
from rest_framework.response import Response

from gateway.ragapi.paging import listing
from gateway.ragapi.resource import Resource
from knowledge.models import EmbeddingModel


class EmbeddingModels(Resource):
    """GET /v1/rag/embedding-models"""

    def get(self, request: Request) -> Response:
        rows = EmbeddingModel.objects.all()
        return listing(rows, self.query(), order="name", cursor="name", shown=_model_object)


def _model_object(row: EmbeddingModel) -> dict[str, object]:
    return {
        "id": row.name,
        "object": "rag.embedding_model",
        "name": row.name,
        "source": row.source,
        "dimensions": row.dimensions,
        "max_tokens": row.max_tokens,
        "languages": row.languages,
    }
