"""Ollama's own API."""

from collections.abc import Mapping

from gateway.openapi.shapes import (
    ANY_OBJECT,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    either,
    members,
    one_of,
    some,
)

_SHARED = {
    "model": TEXT,
    "stream": FLAG,
    "format": either(one_of(("json", "")), ANY_OBJECT),
    "options": ANY_OBJECT,
    "keep_alive": either(NUMBER, TEXT),
    "think": either(FLAG, one_of(("low", "medium", "high", "max"))),
}

SCHEMAS: Mapping[str, Schema] = {
    "NativeError": members({"error": TEXT}),
    "NativeChatRequest": members(
        {**_SHARED, "messages": some(ANY_OBJECT), "tools": some(ANY_OBJECT)}, required=("model",)
    ),
    "NativeGenerateRequest": members(
        {**_SHARED, "prompt": TEXT, "suffix": TEXT, "system": TEXT, "images": some(TEXT), "raw": FLAG},
        required=("model",),
    ),
    "NativeAnswer": members(
        {
            "model": TEXT,
            "created_at": TEXT,
            "message": ANY_OBJECT,
            "response": TEXT,
            "done": FLAG,
            "done_reason": TEXT,
            "prompt_eval_count": INTEGER,
            "eval_count": INTEGER,
        },
        required=("model", "created_at", "done"),
    ),
    "NativeEmbedRequest": members(
        {"model": TEXT, "input": either(TEXT, some(TEXT)), "truncate": FLAG, "dimensions": INTEGER},
        required=("model",),
    ),
    "NativeEmbeddings": members({"model": TEXT, "embeddings": some(some(NUMBER))}),
    "NativeOldEmbedRequest": members({"model": TEXT, "prompt": TEXT}, required=("model",)),
    "NativeOldEmbedding": members({"embedding": some(NUMBER)}),
    "NativeModels": members({"models": some(ANY_OBJECT)}),
    "NativeShowRequest": members({"model": TEXT}),
    "NativeModel": ANY_OBJECT,
    "NativeVersion": members({"version": TEXT}),
}
