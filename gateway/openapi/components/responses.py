"""OpenAI's responses."""

from collections.abc import Mapping

from gateway.openapi.components.chat import LARGE, TYPES
from gateway.openapi.shapes import (
    ANY_OBJECT,
    ANYTHING,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    const,
    described,
    either,
    members,
    nullable,
    number,
    one_of,
    some,
    whole,
)
from gateway.responses.parameters import REFUSED, TABLES

OF_RESPONSES: Mapping[str, Schema] = {
    "input": either(TEXT, some(ANY_OBJECT)),
    "instructions": TEXT,
    "include": some(TEXT),
    "max_output_tokens": whole(1, LARGE),
    "max_tool_calls": whole(1),
    "metadata": TYPES["metadata"],
    "parallel_tool_calls": FLAG,
    "previous_response_id": TEXT,
    "reasoning": members(
        {"effort": nullable(TYPES["reasoning_effort"]), "summary": nullable(one_of(("auto", "concise", "detailed")))},
        required=(),
    ),
    "store": FLAG,
    "stream": FLAG,
    "temperature": number(0, 2),
    "text": members(
        {"format": members({"type": one_of(("text", "json_object", "json_schema"))}), "verbosity": nullable(TEXT)},
        required=(),
    ),
    "tool_choice": either(one_of(("none", "auto", "required")), ANY_OBJECT),
    "tools": some(members({"type": one_of(("function", "custom", "file_search"))})),
    "top_logprobs": whole(0, 20),
    "top_p": number(0, 1),
    "truncation": one_of(("auto", "disabled")),
}
"""Parameters that mean something else than a chat's of the same name, or that a chat has not."""


def _request() -> Schema:
    rows = [row for _, table in TABLES for row in table if "." not in row.name and row.name not in REFUSED]
    types = {**TYPES, **OF_RESPONSES}
    properties = {row.name: described(nullable(types.get(row.name, ANYTHING)), row.note) for row in rows}
    return members(properties | {"model": TEXT, "input": OF_RESPONSES["input"]}, required=("model", "input"))


SCHEMAS: Mapping[str, Schema] = {
    "ResponseRequest": _request(),
    "Response": members(
        {
            "id": TEXT,
            "object": const("response"),
            "created_at": NUMBER,
            "status": one_of(("completed", "incomplete", "failed", "in_progress")),
            "model": TEXT,
            "output": some(members({"type": TEXT})),
            "usage": nullable(members({"input_tokens": INTEGER, "output_tokens": INTEGER, "total_tokens": INTEGER})),
            "error": nullable(ANY_OBJECT),
            "incomplete_details": nullable(ANY_OBJECT),
            "metadata": nullable(ANY_OBJECT),
        }
    ),
}
