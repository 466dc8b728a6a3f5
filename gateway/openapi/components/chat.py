"""Chat and text completions, and embeddings, as OpenAI has them and with what this endpoint adds."""

from collections.abc import Mapping

from gateway.embeddings import MOST_TEXTS
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
    described,
    either,
    members,
    nullable,
    number,
    one_of,
    ref,
    some,
    whole,
)
from gateway.parameters import REFUSED, parameters

LARGE = 2**31
_TEXTS = either(TEXT, some(TEXT))
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra")
_THINK = either(FLAG, one_of(("low", "medium", "high", "max")))
_FORMAT = members(
    {"type": one_of(("text", "json_object", "json_schema")), "json_schema": ANY_OBJECT}, required=("type",)
)
_TOOL = members(
    {"type": const("function"), "function": members({"name": TEXT, "parameters": ANY_OBJECT}, required=("name",))}
)

TYPES: Mapping[str, Schema] = {
    "model": TEXT,
    "messages": some(ref("Message"), fewest=1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "logprobs": FLAG,
    "top_logprobs": whole(0, 20),
    "max_completion_tokens": whole(1, LARGE),
    "max_tokens": whole(1, LARGE),
    "max_output_tokens": whole(1, LARGE),
    "max_new_tokens": whole(1, LARGE),
    "num_predict": whole(-LARGE, LARGE),
    "n_predict": whole(-LARGE, LARGE),
    "metadata": {"type": "object", "additionalProperties": TEXT, "maxProperties": 16},
    "modalities": some(one_of(("text",))),
    "n": whole(1, 16),
    "parallel_tool_calls": FLAG,
    "reasoning_effort": one_of(_EFFORTS),
    "reasoning": members({"effort": one_of(_EFFORTS), "enabled": FLAG}, required=()),
    "response_format": _FORMAT,
    "format": either(one_of(("json", "")), ANY_OBJECT),
    "seed": INTEGER,
    "stop": _TEXTS,
    "stop_sequences": _TEXTS,
    "stream": FLAG,
    "stream_options": members({"include_usage": FLAG, "include_obfuscation": FLAG}, required=()),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "tool_choice": either(one_of(("none", "auto", "required")), ANY_OBJECT),
    "tools": some(_TOOL),
    "verbosity": one_of(("low", "medium", "high")),
    "num_ctx": whole(4, 100_000_000),
    "keep_alive": either(NUMBER, TEXT),
    "think": _THINK,
    "enable_thinking": FLAG,
    "thinking": members({"type": one_of(("enabled", "disabled"))}),
    "chat_template_kwargs": ANY_OBJECT,
    "moe": members({"explain": FLAG}, required=()),
    "use_rag": FLAG,
    "rag_collections": _TEXTS,
    "rag": either(
        FLAG,
        members(
            {
                "collections": _TEXTS,
                "top_k": whole(1, 50),
                "filters": ANY_OBJECT,
                "mode": one_of(("hybrid", "vector", "text")),
                "condense": FLAG,
            },
            required=(),
        ),
    ),
    "options": ANY_OBJECT,
    "top_k": NUMBER,
    "min_p": NUMBER,
    "typical_p": NUMBER,
    "repeat_last_n": NUMBER,
    "repeat_penalty": NUMBER,
    "repetition_penalty": NUMBER,
    "num_keep": NUMBER,
}
"""Parameters of a chat completion that do something; those that do nothing take anything, others are refused."""


def _request() -> Schema:
    rows = [row for row in parameters() if "." not in row.name and row.name not in REFUSED]
    properties = {row.name: described(nullable(TYPES.get(row.name, ANYTHING)), row.note) for row in rows}
    return members(
        properties | {"model": TYPES["model"], "messages": TYPES["messages"]}, required=("model", "messages")
    )


_USAGE = members(
    {"prompt_tokens": INTEGER, "completion_tokens": INTEGER, "total_tokens": INTEGER},
)
_FINISH = nullable(one_of(("stop", "length", "tool_calls", "content_filter", "function_call")))
_CALL = members(
    {"id": TEXT, "type": const("function"), "function": members({"name": TEXT, "arguments": TEXT})},
)
_COMPLETION = {"id": TEXT, "created": SECONDS, "model": TEXT}

SCHEMAS: Mapping[str, Schema] = {
    "Message": members(
        {
            "role": one_of(("system", "developer", "user", "assistant", "tool")),
            "content": nullable(either(TEXT, some(ANY_OBJECT))),
            "name": TEXT,
            "tool_calls": nullable(some(ANY_OBJECT)),
            "tool_call_id": TEXT,
        },
        required=("role",),
    ),
    "Usage": _USAGE,
    "ChatCompletionRequest": _request(),
    "ChatCompletion": members(
        {
            **_COMPLETION,
            "object": const("chat.completion"),
            "choices": some(
                members(
                    {
                        "index": INTEGER,
                        "message": members(
                            {
                                "role": const("assistant"),
                                "content": nullable(TEXT),
                                "reasoning": TEXT,
                                "reasoning_content": TEXT,
                                "tool_calls": some(_CALL),
                                "annotations": some(ANY_OBJECT),
                            },
                            required=("role", "content"),
                        ),
                        "finish_reason": _FINISH,
                        "logprobs": nullable(ANY_OBJECT),
                    },
                    required=("index", "message", "finish_reason"),
                )
            ),
            "usage": ref("Usage"),
            "moe": ANY_OBJECT,
        },
        required=("id", "object", "created", "model", "choices", "usage"),
    ),
    "TextCompletionRequest": members(
        {
            "model": TEXT,
            "prompt": either(TEXT, some(TEXT)),
            "suffix": nullable(TEXT),
            "echo": nullable(FLAG),
            "max_tokens": nullable(whole(0, LARGE)),
            "temperature": nullable(number(0, 2)),
            "top_p": nullable(number(0, 1)),
            "stop": nullable(_TEXTS),
            "seed": nullable(INTEGER),
            "stream": nullable(FLAG),
            "stream_options": nullable(TYPES["stream_options"]),
        },
        required=("model", "prompt"),
    ),
    "TextCompletion": members(
        {
            **_COMPLETION,
            "object": const("text_completion"),
            "choices": some(
                members({"index": INTEGER, "text": TEXT, "finish_reason": _FINISH, "logprobs": nullable(ANY_OBJECT)})
            ),
            "usage": ref("Usage"),
            "moe": ANY_OBJECT,
        },
        required=("id", "object", "created", "model", "choices", "usage"),
    ),
    "EmbeddingRequest": members(
        {
            "model": TEXT,
            "input": either({**TEXT, "minLength": 1}, some({**TEXT, "minLength": 1}, fewest=1, most=MOST_TEXTS)),
            "encoding_format": nullable(one_of(("float", "base64"))),
            "dimensions": nullable(whole(1)),
            "user": TEXT,
        },
        required=("model", "input"),
    ),
    "EmbeddingList": members(
        {
            "object": const("list"),
            "data": some(
                members(
                    {"object": const("embedding"), "index": INTEGER, "embedding": either(some(NUMBER), TEXT)},
                )
            ),
            "model": TEXT,
            "usage": members({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
        }
    ),
}
