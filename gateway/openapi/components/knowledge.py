"""The knowledge base: ingestion, search, and what the views have no serializers for."""

from collections.abc import Mapping

from gateway.openapi.shapes import (
    ANY_OBJECT,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    TIME,
    Schema,
    const,
    either,
    members,
    nullable,
    number,
    one_of,
    ref,
    some,
    whole,
)
from gateway.ragapi.incoming import LONGEST_WAIT, MOST_DOCUMENTS, MOST_URLS
from gateway.ragapi.searching import MOST_COLLECTIONS, MOST_NEIGHBOURS
from knowledge.models import DocumentStatus, IngestionJob, JobState, Stage
from knowledge.passages import Fusion, Mode
from knowledge.search import MOST_PASSAGES

_WAIT = either(FLAG, number(0, LONGEST_WAIT))
_ERROR = members({"code": TEXT, "message": TEXT})

SCHEMAS: Mapping[str, Schema] = {
    "IngestRequest": members(
        {
            "documents": some(
                members(
                    {
                        "content": {**TEXT, "description": "A text; or send content_base64."},
                        "content_base64": {**TEXT, "description": "A file's bytes."},
                        "source": TEXT,
                        "name": TEXT,
                        "mime": TEXT,
                        "title": TEXT,
                        "url": TEXT,
                        "language": TEXT,
                        "metadata": ANY_OBJECT,
                        "collection": TEXT,
                    },
                    required=(),
                ),
                most=MOST_DOCUMENTS,
            ),
            "urls": some(TEXT, most=MOST_URLS),
            "sitemap": TEXT,
            "collection": TEXT,
            "metadata": ANY_OBJECT,
            "language": TEXT,
            "wait": _WAIT,
        },
        required=(),
    ),
    "IngestForm": members(
        {
            "file": some({"type": "string", "contentMediaType": "application/octet-stream"}, fewest=1),
            "collection": TEXT,
            "metadata": {**TEXT, "description": "An object, as JSON."},
            "language": TEXT,
            "wait": TEXT,
            "source": TEXT,
            "title": TEXT,
            "url": TEXT,
        },
        required=("file",),
    ),
    "IngestReport": members(
        {
            "success": FLAG,
            "documents_ingested": INTEGER,
            "message": TEXT,
            "documents": some(
                members(
                    {
                        "id": nullable(INTEGER),
                        "source": TEXT,
                        "collection": TEXT,
                        "result": nullable(TEXT),
                        "status": one_of(DocumentStatus.values),
                        "job": nullable(TEXT),
                    }
                )
            ),
            "jobs": some(TEXT),
            "batch": TEXT,
            "errors": some(members({"param": TEXT, "source": TEXT, "code": TEXT, "message": TEXT})),
        }
    ),
    "SearchRequest": members(
        {
            "query": {**TEXT, "minLength": 1},
            "collection": TEXT,
            "collections": either(TEXT, some(TEXT, most=MOST_COLLECTIONS)),
            "top_k": whole(1, MOST_PASSAGES),
            "mode": one_of(tuple(Mode)),
            "fusion": one_of(tuple(Fusion)),
            "vector_weight": number(0, 1),
            "filters": nullable(ANY_OBJECT),
            "threshold": number(0, 1),
            "neighbours": whole(0, MOST_NEIGHBOURS),
            "rerank": FLAG,
        },
        required=("query",),
    ),
    "SearchResults": members(
        {
            "query": TEXT,
            "results": some(ref("Passage")),
            "collections": some(TEXT),
            "strength": nullable(NUMBER),
            "weak": FLAG,
            "notes": some(TEXT),
            "steps": some(members({"step": TEXT, "milliseconds": NUMBER, "result": TEXT})),
        }
    ),
    "Passage": members(
        {
            "content": TEXT,
            "metadata": ANY_OBJECT,
            "collection": TEXT,
            "similarity_score": NUMBER,
            "score": NUMBER,
            "chunk": INTEGER,
            "document": INTEGER,
            "revision": INTEGER,
            "title": TEXT,
            "source": TEXT,
            "heading": nullable(TEXT),
            "page": nullable(INTEGER),
            "url": nullable(TEXT),
            "language": nullable(TEXT),
            "text_score": nullable(NUMBER),
            "vector_rank": nullable(INTEGER),
            "text_rank": nullable(INTEGER),
            "rerank_score": nullable(NUMBER),
            "before": nullable(TEXT),
            "after": nullable(TEXT),
        }
    ),
    "Job": members(
        {
            "id": TEXT,
            "object": const("rag.job"),
            "kind": one_of(IngestionJob.Kind.values),
            "batch": TEXT,
            "state": one_of(JobState.values),
            "stage": one_of(Stage.values),
            "done": INTEGER,
            "total": INTEGER,
            "percent": whole(0, 100),
            "attempts": INTEGER,
            "result": nullable(TEXT),
            "error": nullable(_ERROR),
            "note": nullable(TEXT),
            "document": nullable(INTEGER),
            "collection": TEXT,
            "url": nullable(TEXT),
            "created_at": TIME,
            "started_at": nullable(TIME),
            "finished_at": nullable(TIME),
        }
    ),
    "Reingestion": members({"document": ANY_OBJECT, "result": TEXT, "job": nullable(ref("Job"))}),
    "Chunk": members(
        {
            "id": INTEGER,
            "object": const("rag.chunk"),
            "document": INTEGER,
            "revision": INTEGER,
            "ordinal": INTEGER,
            "content": TEXT,
            "heading": TEXT,
            "page": nullable(INTEGER),
            "tokens": INTEGER,
            "language": TEXT,
            "enabled": FLAG,
        }
    ),
    "EmbeddingModel": members(
        {
            "id": TEXT,
            "object": const("rag.embedding_model"),
            "name": TEXT,
            "source": TEXT,
            "dimensions": INTEGER,
            "max_tokens": nullable(INTEGER),
            "languages": some(TEXT),
        }
    ),
}
