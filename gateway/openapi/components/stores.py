"""Files and vector stores, as OpenAI has them."""

from collections.abc import Mapping

from gateway.files import PURPOSES
from gateway.openapi.shapes import (
    ANY_OBJECT,
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    SECONDS,
    TEXT,
    Schema,
    const,
    either,
    members,
    nullable,
    one_of,
    some,
    whole,
)
from gateway.vectorstores.wishes import FEWEST_TOKENS, MOST_DAYS, MOST_FILES, MOST_PAIRS, MOST_TOKENS

_COUNTS = members(
    {"in_progress": INTEGER, "completed": INTEGER, "failed": INTEGER, "cancelled": INTEGER, "total": INTEGER}
)
_EXPIRES = members({"anchor": const("last_active_at"), "days": whole(1, MOST_DAYS)})
_STATIC = members(
    {"max_chunk_size_tokens": whole(FEWEST_TOKENS, MOST_TOKENS), "chunk_overlap_tokens": whole(0, MOST_TOKENS // 2)}
)
_CUT = either(members({"type": const("auto")}), members({"type": const("static"), "static": _STATIC}))
_METADATA: Schema = {"type": "object", "additionalProperties": TEXT, "maxProperties": MOST_PAIRS}
_ATTRIBUTES: Schema = {
    "type": "object",
    "additionalProperties": either(TEXT, NUMBER, FLAG),
    "maxProperties": MOST_PAIRS,
}
_ADDED = {"file_id": TEXT, "attributes": nullable(_ATTRIBUTES), "chunking_strategy": nullable(_CUT)}

SCHEMAS: Mapping[str, Schema] = {
    "FileForm": members(
        {
            "file": {"type": "string", "contentMediaType": "application/octet-stream"},
            "purpose": one_of(PURPOSES),
            "expires_after[anchor]": const("created_at"),
            "expires_after[seconds]": INTEGER,
        },
        required=("file", "purpose"),
    ),
    "File": members(
        {
            "id": TEXT,
            "object": const("file"),
            "bytes": INTEGER,
            "created_at": SECONDS,
            "expires_at": nullable(SECONDS),
            "filename": TEXT,
            "purpose": TEXT,
            "status": one_of(("uploaded", "processed", "error")),
            "status_details": nullable(TEXT),
        }
    ),
    "VectorStoreRequest": members(
        {
            "name": nullable(TEXT),
            "description": nullable(TEXT),
            "metadata": nullable(_METADATA),
            "expires_after": nullable(_EXPIRES),
            "chunking_strategy": nullable(_CUT),
            "file_ids": nullable(some(TEXT, most=MOST_FILES)),
        },
        required=(),
    ),
    "VectorStoreChange": members(
        {"name": nullable(TEXT), "metadata": nullable(_METADATA), "expires_after": nullable(_EXPIRES)}, required=()
    ),
    "VectorStore": members(
        {
            "id": TEXT,
            "object": const("vector_store"),
            "created_at": SECONDS,
            "name": TEXT,
            "description": nullable(TEXT),
            "status": one_of(("expired", "in_progress", "completed")),
            "file_counts": _COUNTS,
            "usage_bytes": INTEGER,
            "metadata": nullable(ANY_OBJECT),
            "expires_after": nullable(_EXPIRES),
            "expires_at": nullable(SECONDS),
            "last_active_at": nullable(SECONDS),
        }
    ),
    "VectorStoreFileRequest": members(_ADDED, required=("file_id",)),
    "VectorStoreFileChange": members({"attributes": nullable(_ATTRIBUTES)}),
    "VectorStoreFile": members(
        {
            "id": TEXT,
            "object": const("vector_store.file"),
            "created_at": SECONDS,
            "usage_bytes": INTEGER,
            "vector_store_id": TEXT,
            "status": one_of(("in_progress", "completed", "failed", "cancelled")),
            "last_error": nullable(members({"code": TEXT, "message": TEXT})),
            "attributes": nullable(ANY_OBJECT),
            "chunking_strategy": ANY_OBJECT,
        }
    ),
    "VectorStoreFileContent": members(
        {
            "object": const("vector_store.file_content.page"),
            "data": some(members({"type": const("text"), "text": TEXT})),
            "has_more": FLAG,
            "next_page": nullable(TEXT),
        }
    ),
    "FileBatchRequest": members(
        {
            "file_ids": some(TEXT, most=MOST_FILES, fewest=1),
            "files": some(members(_ADDED, required=("file_id",)), most=MOST_FILES, fewest=1),
            "attributes": nullable(_ATTRIBUTES),
            "chunking_strategy": nullable(_CUT),
        },
        required=(),
    ),
    "FileBatch": members(
        {
            "id": TEXT,
            "object": const("vector_store.files_batch"),
            "created_at": SECONDS,
            "vector_store_id": TEXT,
            "status": one_of(("in_progress", "completed", "failed", "cancelled")),
            "file_counts": _COUNTS,
        }
    ),
    "VectorStoreSearchRequest": members(
        {
            "query": either({**TEXT, "minLength": 1}, some({**TEXT, "minLength": 1}, fewest=1)),
            "filters": nullable(ANY_OBJECT),
            "max_num_results": nullable(whole(1, 50)),
            "ranking_options": nullable(ANY_OBJECT),
            "rewrite_query": nullable(FLAG),
        },
        required=("query",),
    ),
    "VectorStoreSearchResults": members(
        {
            "object": const("vector_store.search_results.page"),
            "search_query": ANYTHING,
            "data": some(
                members(
                    {
                        "file_id": TEXT,
                        "filename": TEXT,
                        "score": NUMBER,
                        "attributes": nullable(ANY_OBJECT),
                        "content": some(members({"type": const("text"), "text": TEXT})),
                    }
                )
            ),
            "has_more": FLAG,
            "next_page": nullable(TEXT),
        }
    ),
}
