"""What clients get of a chat, whole and in chunks."""

from typing import Any

import pytest

from gateway.chatanswer import ChunkWriter, Completion, Head
from routing.backends.protocol import ChatEvent, Delta, Finish, ToolCallDelta, Usage

HEAD = Head(id="chatcmpl-1", created=1_790_000_000, model="code")
USAGE = Usage(prompt_tokens=7, completion_tokens=3, details={"prompt_tokens_details": {"cached_tokens": 5}})
TOLD_USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 5},
}
LOGPROB = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}

PLAIN = [Delta(content="Hel"), Delta(content="lo"), Finish(reason="stop", usage=USAGE)]
THOUGHT = [Delta(reasoning="Hm"), Delta(reasoning="m"), Delta(content="4"), Finish(reason="length", usage=USAGE)]
CALLED = [
    Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments=""),)),
    Delta(tool_calls=(ToolCallDelta(index=0, arguments='{"x"'), ToolCallDelta(index=1, id="b", name="g"))),
    Delta(tool_calls=(ToolCallDelta(index=0, arguments=":1}"), ToolCallDelta(index=1, arguments="{}"))),
    Finish(reason="tool_calls", usage=USAGE),
]
MIXED = [
    Delta(
        content="Let me see.",
        reasoning="Hm",
        tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments="{}"),),
    ),
    Finish(reason="tool_calls", usage=USAGE),
]
SCORED = [
    Delta(content="Hi", logprobs=(LOGPROB,)),
    Delta(logprobs=(LOGPROB, LOGPROB)),
    Finish(reason="stop", usage=USAGE),
]
EMPTY: list[ChatEvent] = [Finish(reason="stop")]
ANSWERS = pytest.mark.parametrize(
    "events",
    [PLAIN, THOUGHT, CALLED, MIXED, SCORED, EMPTY],
    ids=["plain", "thought", "called", "mixed", "scored", "empty"],
)


def streamed(events: list[ChatEvent], *, include_usage: bool = False) -> list[dict[str, Any]]:
    writer = ChunkWriter(HEAD, include_usage=include_usage)
    return [chunk for event in events for chunk in writer.write(event)]


def collected(events: list[ChatEvent]) -> dict[str, Any]:
    completion = Completion()
    for event in events:
        completion.add(event)
    return completion.whole(HEAD)


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


# Chunks


@ANSWERS
@pytest.mark.parametrize("include_usage", [False, True])
def test_chunks_come_in_the_order_of_openai(events, include_usage):
    chunks = streamed(events, include_usage=include_usage)
    for chunk in chunks:
        envelope = {name: chunk[name] for name in ("id", "object", "created", "model")}
        assert envelope == {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": "code",
        }
    if include_usage:
        *chunks, last = chunks
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == (10 if events is not EMPTY else 0)
        assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    else:
        assert not any("usage" in chunk for chunk in chunks)
    choices = [chunk["choices"] for chunk in chunks]
    assert all(len(choice) == 1 and choice[0]["index"] == 0 for choice in choices), "clients index choices[0]"
    assert choices[0][0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice[0]["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert (choices[-1][0]["delta"], choices[-1][0]["finish_reason"]) == ({}, events[-1].reason)
    assert sum("role" in delta for delta in deltas(chunks)) == 1


def test_pieces_of_text_and_thought_keep_their_names():
    assert deltas(streamed(THOUGHT))[1:-1] == [
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"reasoning": "m", "reasoning_content": "m"},
        {"content": "4"},
    ]


def test_a_tool_call_is_named_once_and_then_only_goes_on():
    assert deltas(streamed(CALLED))[1:-1] == [
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": '{"x"'}},
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
            ]
        },
        {
            "tool_calls": [
                {"index": 0, "function": {"arguments": ":1}"}},
                {"index": 1, "function": {"arguments": "{}"}},
            ]
        },
    ]


def test_log_probabilities_come_even_without_text():
    chunks = streamed(SCORED)
    assert [chunk["choices"][0].get("logprobs") for chunk in chunks] == [
        None,
        {"content": [LOGPROB]},
        {"content": [LOGPROB, LOGPROB]},
        None,
    ]
    assert deltas(chunks)[2] == {"content": ""}


def test_usage_is_told_as_the_server_counted_it():
    assert streamed(PLAIN, include_usage=True)[-1]["usage"] == TOLD_USAGE


def sdk_message(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Put chunks together as openai-python does (lib/streaming/_deltas.py): by index, joining texts."""
    message: dict[str, Any] = {}
    for delta in deltas(chunks):
        for name, value in delta.items():
            if name != "tool_calls":
                message[name] = message.get(name, "") + value
                continue
            calls = message.setdefault("tool_calls", [])
            for piece in value:
                if piece["index"] == len(calls):
                    calls.append({"id": "", "type": "", "function": {"name": "", "arguments": ""}})
                call = calls[piece["index"]]
                for key in ("id", "type"):
                    call[key] += piece.get(key, "")
                for key, part in piece["function"].items():
                    call["function"][key] += part
    return message


@ANSWERS
def test_a_stream_adds_up_to_the_whole_answer(events):
    message = collected(events)["choices"][0]["message"]
    assert sdk_message(streamed(events)) == message | {"content": message["content"] or ""}


# Whole answers


@pytest.mark.parametrize(
    ("events", "message", "reason"),
    [
        (PLAIN, {"role": "assistant", "content": "Hello"}, "stop"),
        (
            THOUGHT,
            {"role": "assistant", "content": "4", "reasoning": "Hmm", "reasoning_content": "Hmm"},
            "length",
        ),
        (
            CALLED,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "tool_calls",
        ),
        (
            MIXED,
            {
                "role": "assistant",
                "content": "Let me see.",
                "reasoning": "Hm",
                "reasoning_content": "Hm",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "tool_calls",
        ),
        (EMPTY, {"role": "assistant", "content": ""}, "stop"),
    ],
    ids=["plain", "thought", "called", "mixed", "empty"],
)
def test_pieces_become_one_message(events, message, reason):
    assert collected(events)["choices"] == [{"index": 0, "message": message, "finish_reason": reason}]


def test_a_whole_answer_has_what_clients_require():
    answer = collected(SCORED)
    [choice] = answer.pop("choices")
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "code",
        "usage": TOLD_USAGE,
    }
    assert choice["logprobs"] == {"content": [LOGPROB, LOGPROB, LOGPROB]}


def test_uncounted_tokens_are_zero():
    assert collected(EMPTY)["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


# Several answers

TWO: list[ChatEvent] = [
    Delta(index=1, content="b"),
    Delta(index=0, content="a"),
    Finish(index=1, reason="stop"),
    Delta(index=0, content="A", tool_calls=(ToolCallDelta(index=0, id="x", name="f", arguments="{}"),)),
    Finish(index=0, reason="tool_calls", usage=USAGE, adjusted=("parallel_tool_calls",)),
]


def test_chunks_of_several_answers_are_told_apart_and_usage_comes_last():
    writer = ChunkWriter(HEAD, include_usage=True, choices=2)
    *chunks, last = [chunk for event in TWO for chunk in writer.write(event)]
    indices = [chunk["choices"][0]["index"] for chunk in chunks]
    assert indices == [0, 1, 1, 0, 1, 0, 0]
    starts = [chunk["choices"][0]["index"] for chunk in chunks if "role" in chunk["choices"][0]["delta"]]
    assert starts == [0, 1]
    assert (last["choices"], last["usage"]) == ([], TOLD_USAGE)
    assert chunks[-1]["moe"] == {"adjusted": ["parallel_tool_calls"]}
    assert not any("moe" in chunk for chunk in chunks[:-1])


def test_the_first_chunk_of_all_tells_of_the_decision():
    writer = ChunkWriter(HEAD, include_usage=True, choices=2, moe={"route": "rule"})
    events = [Delta(index=1, content="a"), Delta(content="b"), Finish(index=1, reason="stop"), Finish(reason="stop")]
    first, *others = [chunk for event in events for chunk in writer.write(event)]
    assert first["moe"] == {"route": "rule"}
    assert not [chunk for chunk in others if "moe" in chunk]


def test_an_answer_tells_of_the_decision_beside_what_was_adjusted():
    completion = Completion()
    completion.add(Finish(reason="stop", adjusted=("messages",)))
    assert completion.whole(HEAD)["moe"] == {"adjusted": ["messages"]}
    assert completion.whole(HEAD, {"route": "rule"})["moe"] == {"route": "rule", "adjusted": ["messages"]}


def test_several_answers_are_put_together_each_for_itself():
    answer = collected(TWO)
    assert [(choice["index"], choice["message"]["content"]) for choice in answer["choices"]] == [(0, "aA"), (1, "b")]
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["tool_calls", "stop"]
    assert answer["usage"] == TOLD_USAGE
    assert answer["moe"] == {"adjusted": ["parallel_tool_calls"]}
