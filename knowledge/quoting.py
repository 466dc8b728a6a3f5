"""Texts of others as they stand in a prompt: marked off so that they cannot step out of their quotation. Pure.

Every document is untrusted: whoever could put a sentence into it could put an order into it. So a passage stands
between two lines with a random code that its author cannot have known, and what a chat template or a reader of the
prompt could take for structure is made harmless.
"""

import re
import secrets
from collections.abc import Iterable

# Control tokens as the templates of chat models have them; servers read them as such wherever they stand in a
# message. Sources: the tokenizers of Llama 2 to 4, Mistral, Qwen, Gemma, DeepSeek, gpt-oss, Phi, Command R.
_CONTROL = re.compile(
    r"<(?=\s*/?\s*passage\b)"
    r"|<(?=[|｜])"
    r"|<(?=/?(?:s|bos|eos|pad|unk|think|thinking|tool_call|tool_response|tools|start_of_turn|end_of_turn|"
    r"start_of_image|end_of_text)\s*>)"
    r"|<(?=<?/?SYS>)",
    re.IGNORECASE,
)
_BRACKETED = re.compile(
    r"\[(/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|MODEL_SETTINGS|THINK|ARGS|IMG|"
    r"CALL_ID))\]"
)
# References of the text's own, which a model would copy and which would then point at our passages. Directly after
# a letter they may be an index in code, after a bracket a part of a link.
_REFERENCE = re.compile(r"(?<![\w\])])\[(\^?\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\](?!\()")
# A second alphabet nobody sees, but models read.
_INVISIBLE = re.compile("[\x00\U000e0000-\U000e007f]")
CODE_BYTES = 8


def new_code(texts: Iterable[str]) -> str:
    """Return a code that nobody can guess and that none of ``texts`` holds."""
    everything = "\n".join(texts).lower()
    while (code := secrets.token_hex(CODE_BYTES)) in everything:
        pass
    return code


def harmless(text: str) -> str:
    """Return ``text`` without what could end its quotation, begin another turn, or pass for a citation of ours."""
    text = _CONTROL.sub("‹", _INVISIBLE.sub("", text))
    return _REFERENCE.sub(r"(\1)", _BRACKETED.sub(r"(\1)", text))


def one_line(text: str, longest: int) -> str:
    """Return ``text`` harmless and on one line, for a title or a heading."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def quoted(number: int, code: str, facts: Iterable[str], text: str) -> str:
    """Return a passage between its two lines, its ``facts`` (each on one line) before the text."""
    return "\n".join((f"<passage {number} {code}>", *facts, harmless(text).strip(), f"</passage {number} {code}>"))
