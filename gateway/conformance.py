"""docs/conformance.md, written from the tables of parameters. Pure."""

from collections.abc import Iterable, Iterator

from gateway.parameters import TABLES, Parameter, Verdict
from gateway.responses import parameters as responses

HEAD = """\
# Conformance

<!-- Written by `manage.py conformance` from parameters.py in gateway/ and gateway/responses/. Change it there. -->

What becomes of every parameter. Nothing is dropped in silence: what could change an answer and cannot be carried out
is refused with 400 and its name in `param`; a parameter that is in no table here is passed over, named in the response
header `X-MoE-Ignored` and in the log. What was carried out otherwise than a client may expect is named in
`X-MoE-Adjusted`, and in a stream, whose headers are gone by then, in `moe.adjusted` of the chunk with the
finish_reason: `parallel_tool_calls` when calls were left out, `tools.function.strict` when the arguments of a call do
not fit what was declared, `messages` when the model server's own count shows that it read only a part of the prompt.

| verdict | meaning |
|---|---|
| honoured | the model server has the same |
| mapped | the model server has the same, under another name or in another shape |
| emulated | the model server has no such thing; the gateway sees to it |
| refused | 400: it would change the answer, and nothing here can carry it out. Empty, false and null are accepted |
| accepted without effect | the answer would be the same |

"On Ollama" is what its native `/api/chat` gets; "on OpenAI-compatible servers" is what llama.cpp, vLLM and others get.
A null counts as absent.

# POST /v1/chat/completions

Fields of messages that are not named here pass to OpenAI-compatible servers as they are.
"""

RESPONSES = """\

# POST /v1/responses

A response is made as a chat is: routed, grounded, run on the same pool. "As in a chat" is what stands above under that
name. Items and parts of them that nobody reads are named in `X-MoE-Ignored` as `input.…` and `tools.…`. Responses are
kept where the administrator has the API key's prompts and answers kept (`keep texts`), and only for that key: then
`GET` and `DELETE /v1/responses/{id}`, `GET /v1/responses/{id}/input_items`, `previous_response_id` and items of type
item_reference work. A stream that fails ends with `response.failed` and an event of type `error`, which the SDKs raise.
"""


def markdown() -> str:
    """Return the whole document."""
    return HEAD + _tables(TABLES) + RESPONSES + _tables(responses.TABLES)


def _tables(tables: Iterable[tuple[str, Iterable[Parameter]]]) -> str:
    return "".join(f"\n## {title}\n\n{_table(rows)}" for title, rows in tables)


def _table(rows: Iterable[Parameter]) -> str:
    lines = [
        "| parameter | verdict | on Ollama | on OpenAI-compatible servers | notes |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(_cells(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Parameter) -> Iterator[str]:
    note = row.note
    if row.verdict in (Verdict.REFUSED, Verdict.NO_EFFECT):
        note = f"{note[:1].upper()}{note[1:]}."
    yield from (f"`{row.name}`", row.verdict, row.ollama, row.openai, note)
