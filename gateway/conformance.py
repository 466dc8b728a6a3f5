"""docs/conformance.md, written from the table of parameters. Pure."""

from collections.abc import Iterable, Iterator

from gateway.parameters import TABLES, Parameter, Verdict

HEAD = """\
# Conformance: POST /v1/chat/completions

<!-- Written by `manage.py conformance` from gateway/parameters.py. Change it there. -->

What becomes of every parameter. Nothing is dropped in silence: what could change an answer and cannot be carried out
is refused with 400 and its name in `param`; a parameter that is in no table here is passed over, named in the response
header `X-MoE-Ignored` and in the log. What was carried out otherwise than a client may expect is named in
`X-MoE-Adjusted`, and in a stream, whose headers are gone by then, in `moe.adjusted` of the chunk with the
finish_reason: `parallel_tool_calls` when calls were left out, `messages` when the model server's own count shows that
it read only a part of the prompt.

| verdict | meaning |
|---|---|
| honoured | the model server has the same |
| mapped | the model server has the same, under another name or in another shape |
| emulated | the model server has no such thing; the gateway sees to it |
| refused | 400: it would change the answer, and nothing here can carry it out. Empty, false and null are accepted |
| accepted without effect | the answer would be the same |

"On Ollama" is what its native `/api/chat` gets; "on OpenAI-compatible servers" is what llama.cpp, vLLM and others get.
A null counts as absent. Fields of messages that are not named here pass to OpenAI-compatible servers as they are.
"""


def markdown() -> str:
    """Return the whole document."""
    return HEAD + "".join(f"\n## {title}\n\n{_table(rows)}" for title, rows in TABLES)


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
