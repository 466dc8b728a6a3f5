"""Every operation of every path that clients use: those of consumers (moe_site/asgi.py) and those of REST views.

tests/gateway/test_openapi.py holds the table against the routes that there are.
"""

from collections.abc import Mapping
from typing import Any

from gateway.models import ApiKey
from gateway.openapi.operation import EVENTS, FORM, JSON, LINES, Operation, json
from gateway.openapi.shapes import ANY_OBJECT, FLAG, TEXT, Schema, deleted, one_of, page_of, ref, whole
from gateway.policy import Scope
from gateway.ragapi.documents import ORDERS
from gateway.usage.query import BUCKETS, LAST_PAGE, MOST
from knowledge.models import DocumentStatus, JobState

Key = tuple[str, str]

_BYTES: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
_PAGE: Mapping[str, Schema] = {"limit": whole(1, 100), "after": TEXT}
_STORE_PAGE: Mapping[str, Schema] = {**_PAGE, "order": one_of(("asc", "desc")), "before": TEXT}
_FILE_STATES: Mapping[str, Schema] = {"filter": one_of(("in_progress", "completed", "failed", "cancelled"))}


def _knowledge(summary: str, **more: Any) -> Operation:
    return Operation(summary=summary, tag="knowledge", needs=Scope.KNOWLEDGE, **more)


def _stores(summary: str, **more: Any) -> Operation:
    return Operation(summary=summary, tag="vector stores", needs=Scope.KNOWLEDGE, **more)


def _keys(summary: str, **more: Any) -> Operation:
    return Operation(summary=summary, tag="keys", needs=Scope.ADMIN, **more)


def _native(summary: str, **more: Any) -> Operation:
    scope = more.pop("needs", Scope.CHAT)
    return Operation(summary=summary, tag="Ollama", needs=scope, errors="NativeError", **more)


def _streamed(name: str) -> Mapping[str, Schema]:
    return {JSON: ref(name), EVENTS: TEXT}


def _listing(name: str) -> Mapping[str, Schema]:
    return {JSON: page_of(ref(name))}


CHAT: Mapping[Key, Operation] = {
    ("POST", "/v1/chat/completions"): Operation(
        summary="Have a chat answered by the expert that should",
        tag="chat",
        needs=Scope.CHAT,
        takes=json("ChatCompletionRequest"),
        gives=_streamed("ChatCompletion"),
        answers=True,
    ),
    ("POST", "/v1/completions"): Operation(
        summary="Have texts continued",
        tag="chat",
        needs=Scope.CHAT,
        takes=json("TextCompletionRequest"),
        gives=_streamed("TextCompletion"),
        answers=True,
    ),
    ("POST", "/v1/responses"): Operation(
        summary="Have a response made, as chats are answered",
        tag="responses",
        needs=Scope.CHAT,
        takes=json("ResponseRequest"),
        gives=_streamed("Response"),
        answers=True,
    ),
    ("GET", "/v1/responses/{response_id}"): Operation(
        summary="Show a response that is kept", tag="responses", needs=Scope.CHAT, gives=json("Response")
    ),
    ("DELETE", "/v1/responses/{response_id}"): Operation(
        summary="Delete a response that is kept",
        tag="responses",
        needs=Scope.CHAT,
        gives={JSON: deleted("response")},
    ),
    ("GET", "/v1/responses/{response_id}/input_items"): Operation(
        summary="List what a response was made from",
        tag="responses",
        needs=Scope.CHAT,
        query={"limit": whole(1, 100), "order": one_of(("asc", "desc")), "after": TEXT},
        gives={JSON: page_of(ANY_OBJECT)},
    ),
    ("POST", "/v1/embeddings"): Operation(
        summary="Turn texts into vectors",
        tag="embeddings",
        needs=Scope.EMBEDDINGS,
        takes=json("EmbeddingRequest"),
        gives=json("EmbeddingList"),
        answers=True,
    ),
    ("POST", "/v1/route"): Operation(
        summary="Tell who would answer a chat, and why",
        tag="routing",
        needs=Scope.ROUTE,
        takes=json("ChatCompletionRequest"),
        gives=json("Decision"),
    ),
    ("POST", "/v1/feedback"): Operation(
        summary="Say what an answer was worth, and who should have answered",
        tag="routing",
        needs=Scope.CHAT,
        takes=json("FeedbackRequest"),
        gives=json("Feedback"),
    ),
    ("GET", "/v1/models"): Operation(summary="List what can be asked for", tag="models", gives=json("Models")),
    ("GET", "/v1/models/{name}"): Operation(summary="Show one model", tag="models", gives=json("Model")),
    ("GET", "/metrics"): Operation(
        summary="Figures for Prometheus", tag="site", needs=Scope.METRICS, gives={"text/plain": TEXT}
    ),
    ("GET", "/health/live"): Operation(
        summary="Tell whether the process answers", tag="site", is_open=True, gives=json("Health")
    ),
    ("GET", "/health/ready"): Operation(
        summary="Tell whether chats can be answered, and what each dependency says",
        tag="site",
        is_open=True,
        gives=json("Health"),
        statuses=(200, 503),
    ),
}

KNOWLEDGE: Mapping[Key, Operation] = {
    ("POST", "/v1/rag/ingest"): _knowledge(
        "Take documents, files, pages or a sitemap in",
        takes={**json("IngestRequest"), FORM: ref("IngestForm")},
        gives=json("IngestReport"),
        statuses=(200, 202, 207, 422),
    ),
    ("POST", "/v1/rag/search"): _knowledge("Search", takes=json("SearchRequest"), gives=json("SearchResults")),
    ("GET", "/v1/rag/search"): _knowledge(
        "Search",
        query={
            "query": {**TEXT, "minLength": 1},
            "collection": TEXT,
            "top_k": whole(1, 200),
            "mode": one_of(("hybrid", "vector", "text")),
            "neighbours": whole(0, 5),
            "filters": {**TEXT, "description": "As JSON."},
            "rerank": FLAG,
        },
        required=("query",),
        gives=json("SearchResults"),
    ),
    ("GET", "/v1/rag/collections"): _knowledge("List collections", query=_PAGE, gives=_listing("Collection")),
    ("POST", "/v1/rag/collections"): _knowledge(
        "Make a collection", takes=json("CollectionRequest"), gives=json("Collection"), statuses=(201,)
    ),
    ("POST", "/v1/rag/collections/import"): _knowledge(
        "Make a collection of an archive",
        takes={"application/zip": _BYTES},
        query={"slug": TEXT},
        gives=json("Collection"),
        statuses=(201,),
    ),
    ("GET", "/v1/rag/collections/{slug}"): _knowledge("Show a collection", gives=json("Collection")),
    ("PATCH", "/v1/rag/collections/{slug}"): _knowledge(
        "Change a collection's settings",
        takes=json("ChangeRequest"),
        query={"reingest": FLAG},
        gives=json("Collection"),
    ),
    ("DELETE", "/v1/rag/collections/{slug}"): _knowledge(
        "Delete a collection", gives={JSON: deleted("rag.collection.deleted")}
    ),
    ("GET", "/v1/rag/collections/{slug}/archive"): _knowledge(
        "Fetch a collection as an archive", gives={"application/zip": _BYTES}
    ),
    ("GET", "/v1/rag/documents"): _knowledge(
        "List documents",
        query={
            **_PAGE,
            "collection": TEXT,
            "status": one_of(DocumentStatus.values),
            "source": TEXT,
            "filters": {**TEXT, "description": "As JSON."},
            "order": one_of(ORDERS),
        },
        gives=_listing("Document"),
    ),
    ("GET", "/v1/rag/documents/{number}"): _knowledge("Show a document", gives=json("Document")),
    ("PATCH", "/v1/rag/documents/{number}"): _knowledge(
        "Change what is said of a document", takes=json("DocumentRequest"), gives=json("Document")
    ),
    ("DELETE", "/v1/rag/documents/{number}"): _knowledge(
        "Delete a document", gives={JSON: deleted("rag.document.deleted", whole())}
    ),
    ("POST", "/v1/rag/documents/{number}/reingest"): _knowledge(
        "Read a document anew", gives=json("Reingestion"), statuses=(200, 202)
    ),
    ("GET", "/v1/rag/documents/{number}/chunks"): _knowledge(
        "List a document's chunks", query=_PAGE, gives=_listing("Chunk")
    ),
    ("GET", "/v1/rag/documents/{number}/content"): _knowledge(
        "Fetch what a document was made of", query={"revision": whole(1)}, gives={"*/*": _BYTES}
    ),
    ("GET", "/v1/rag/embedding-models"): _knowledge(
        "List embedding models", query=_PAGE, gives=_listing("EmbeddingModel")
    ),
    ("GET", "/v1/rag/jobs"): _knowledge(
        "List jobs",
        query={
            **_PAGE,
            "collection": TEXT,
            "state": one_of(JobState.values),
            "batch": TEXT,
            "document": whole(1),
        },
        gives=_listing("Job"),
    ),
    ("GET", "/v1/rag/jobs/{job_id}"): _knowledge("Show a job", gives=json("Job")),
    ("DELETE", "/v1/rag/jobs/{job_id}"): _knowledge("Cancel a job", gives=json("Job")),
}

STORES: Mapping[Key, Operation] = {
    ("GET", "/v1/files"): _stores(
        "List files",
        query={"limit": whole(1, 10_000), "order": one_of(("asc", "desc")), "after": TEXT, "purpose": TEXT},
        gives=_listing("File"),
    ),
    ("POST", "/v1/files"): _stores("Upload a file", takes={FORM: ref("FileForm")}, gives=json("File")),
    ("GET", "/v1/files/{file_id}"): _stores("Show a file", gives=json("File")),
    ("DELETE", "/v1/files/{file_id}"): _stores("Delete a file", gives={JSON: deleted("file")}),
    ("GET", "/v1/files/{file_id}/content"): _stores("Fetch a file", gives={"*/*": _BYTES}),
    ("GET", "/v1/vector_stores"): _stores("List vector stores", query=_STORE_PAGE, gives=_listing("VectorStore")),
    ("POST", "/v1/vector_stores"): _stores(
        "Make a vector store", takes=json("VectorStoreRequest"), needs_body=False, gives=json("VectorStore")
    ),
    ("GET", "/v1/vector_stores/{store}"): _stores("Show a vector store", gives=json("VectorStore")),
    ("POST", "/v1/vector_stores/{store}"): _stores(
        "Change a vector store", takes=json("VectorStoreChange"), needs_body=False, gives=json("VectorStore")
    ),
    ("DELETE", "/v1/vector_stores/{store}"): _stores(
        "Delete a vector store", gives={JSON: deleted("vector_store.deleted")}
    ),
    ("POST", "/v1/vector_stores/{store}/search"): _stores(
        "Search a vector store", takes=json("VectorStoreSearchRequest"), gives=json("VectorStoreSearchResults")
    ),
    ("GET", "/v1/vector_stores/{store}/files"): _stores(
        "List a store's files", query={**_STORE_PAGE, **_FILE_STATES}, gives=_listing("VectorStoreFile")
    ),
    ("POST", "/v1/vector_stores/{store}/files"): _stores(
        "Put a file into a store", takes=json("VectorStoreFileRequest"), gives=json("VectorStoreFile")
    ),
    ("GET", "/v1/vector_stores/{store}/files/{file}"): _stores("Show a store's file", gives=json("VectorStoreFile")),
    ("POST", "/v1/vector_stores/{store}/files/{file}"): _stores(
        "Change a file's attributes", takes=json("VectorStoreFileChange"), gives=json("VectorStoreFile")
    ),
    ("DELETE", "/v1/vector_stores/{store}/files/{file}"): _stores(
        "Take a file out of a store", gives={JSON: deleted("vector_store.file.deleted")}
    ),
    ("GET", "/v1/vector_stores/{store}/files/{file}/content"): _stores(
        "Show a file's text", gives=json("VectorStoreFileContent")
    ),
    ("POST", "/v1/vector_stores/{store}/file_batches"): _stores(
        "Put several files into a store", takes=json("FileBatchRequest"), gives=json("FileBatch")
    ),
    ("GET", "/v1/vector_stores/{store}/file_batches/{batch}"): _stores("Show a batch", gives=json("FileBatch")),
    ("POST", "/v1/vector_stores/{store}/file_batches/{batch}/cancel"): _stores(
        "Cancel a batch", gives=json("FileBatch")
    ),
    ("GET", "/v1/vector_stores/{store}/file_batches/{batch}/files"): _stores(
        "List a batch's files", query={**_STORE_PAGE, **_FILE_STATES}, gives=_listing("VectorStoreFile")
    ),
}

KEYS: Mapping[Key, Operation] = {
    ("GET", "/v1/keys"): _keys(
        "List API keys", query={**_PAGE, "group": TEXT, "state": one_of(ApiKey.STATES)}, gives=_listing("Key")
    ),
    ("POST", "/v1/keys"): _keys(
        "Make an API key", takes=json("KeyRequest"), gives=json("KeyWithText"), statuses=(201,)
    ),
    ("GET", "/v1/keys/{number}"): _keys("Show an API key", gives=json("Key")),
    ("PATCH", "/v1/keys/{number}"): _keys("Change an API key", takes=json("KeyRequest"), gives=json("Key")),
    ("DELETE", "/v1/keys/{number}"): _keys("Revoke an API key", gives=json("Key")),
    ("POST", "/v1/keys/{number}/rotate"): _keys(
        "Give an API key a new text", takes=json("RotationRequest"), needs_body=False, gives=json("KeyWithText")
    ),
}

USAGE: Mapping[Key, Operation] = {
    ("GET", "/v1/usage"): Operation(
        summary="Show what was used: requests, tokens and cost over time",
        tag="usage",
        query={
            "start": TEXT,
            "end": TEXT,
            "bucket": one_of(BUCKETS),
            "group_by": TEXT,
            "key": whole(0),
            "group": TEXT,
            "expert": TEXT,
            "model": TEXT,
            "kind": TEXT,
            "limit": whole(1, MOST),
            "page": whole(1, LAST_PAGE),
        },
        gives=json("UsageReport"),
    ),
}

NATIVE: Mapping[Key, Operation] = {
    ("POST", "/api/chat"): _native(
        "Chat",
        takes=json("NativeChatRequest"),
        gives={LINES: TEXT, JSON: ref("NativeAnswer")},
        answers=True,
    ),
    ("POST", "/api/generate"): _native(
        "Continue a prompt",
        takes=json("NativeGenerateRequest"),
        gives={LINES: TEXT, JSON: ref("NativeAnswer")},
        answers=True,
    ),
    ("POST", "/api/embed"): _native(
        "Turn texts into vectors",
        needs=Scope.EMBEDDINGS,
        takes=json("NativeEmbedRequest"),
        gives=json("NativeEmbeddings"),
    ),
    ("POST", "/api/embeddings"): _native(
        "Turn a text into a vector",
        needs=Scope.EMBEDDINGS,
        takes=json("NativeOldEmbedRequest"),
        gives=json("NativeOldEmbedding"),
    ),
    ("GET", "/api/tags"): _native("List models", needs=None, gives=json("NativeModels")),
    ("POST", "/api/show"): _native(
        "Show a model", needs=None, takes=json("NativeShowRequest"), gives={JSON: ANY_OBJECT}
    ),
    ("GET", "/api/ps"): _native("List models in memory", needs=None, gives=json("NativeModels")),
    ("GET", "/api/version"): _native("Tell the version whose API this is", needs=None, gives=json("NativeVersion")),
}

OPERATIONS: Mapping[Key, Operation] = {**CHAT, **KNOWLEDGE, **STORES, **KEYS, **USAGE, **NATIVE}
