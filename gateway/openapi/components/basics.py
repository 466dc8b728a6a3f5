"""Errors, models, health, feedback and decisions."""

from collections.abc import Mapping

from gateway.openapi.shapes import (
    ANY_OBJECT,
    FLAG,
    INTEGER,
    SECONDS,
    TEXT,
    Schema,
    const,
    members,
    nullable,
    number,
    one_of,
    ref,
    some,
)

SCHEMAS: Mapping[str, Schema] = {
    "Error": members(
        {
            "error": members(
                {"message": TEXT, "type": TEXT, "param": nullable(TEXT), "code": nullable(TEXT)},
            )
        }
    ),
    "Model": members(
        {
            "id": TEXT,
            "object": const("model"),
            "created": SECONDS,
            "owned_by": TEXT,
            "name": TEXT,
            "description": TEXT,
            "context_length": nullable(INTEGER),
        },
        required=("id", "object", "created", "owned_by"),
    ),
    "Models": members({"object": const("list"), "data": some(ref("Model"))}),
    "Health": members({"status": TEXT, "dependencies": ANY_OBJECT}, required=("status",)),
    "FeedbackRequest": members(
        {
            "decision": {**TEXT, "description": "From the header X-MoE-Decision of an answer."},
            "rating": number(-1, 1),
            "expert": {**TEXT, "description": "Who should have answered."},
            "comment": TEXT,
            "prompt": {**TEXT, "description": "The prompt, for routing to learn from it."},
        },
        required=("decision", "rating"),
    ),
    "Feedback": members(
        {
            "object": const("feedback"),
            "id": TEXT,
            "decision": TEXT,
            "rating": INTEGER,
            "answered_by": TEXT,
            "expert": nullable(TEXT),
            "comment": nullable(TEXT),
            "learnable": FLAG,
        }
    ),
    "KeyWithText": {
        "allOf": [
            ref("Key"),
            members({"key": TEXT, "warnings": some(TEXT)}, required=("key",)),
        ],
        "description": "The text of the key stands in this answer and nowhere else.",
    },
    "Decision": members(
        {
            "object": const("route"),
            "decision": TEXT,
            "expert": TEXT,
            "route": one_of(("explicit", "task", "held", "rule", "classifier", "program", "default", "fallback")),
            "why": TEXT,
            "replicas": some(TEXT),
            "explain": ANY_OBJECT,
        }
    ),
}
