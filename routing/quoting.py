"""Texts of others as they may stand in a prompt: nothing in them passes for structure. Pure."""

import re
import secrets
from collections.abc import Iterable

# Control tokens as the templates of chat models have them; servers read them as such wherever they stand in a
# message. Sources: the tokenizers of Llama 2 to 4, Mistral, Qwen, Gemma, DeepSeek, gpt-oss, Phi, Command R. Passage
# and answer are the marks of our own quotations.
_CONTROL = re.compile(
    r"<(?=\s*/?\s*(?:passage|answer)\b)"
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
# A second alphabet nobody sees, but models read.
_INVISIBLE = re.compile("[\x00\U000e0000-\U000e007f]")
CODE_BYTES = 8


def new_code(texts: Iterable[str]) -> str:
    """Return a code that nobody can guess and that none of ``texts`` holds."""
    everything = "\n".join(texts).lower()
    while (code := secrets.token_hex(CODE_BYTES)) in everything:
        pass
    return code


def disarmed(text: str) -> str:
    """Return ``text`` without what could end its quotation or begin another turn."""
    return _BRACKETED.sub(r"(\1)", _CONTROL.sub("‹", _INVISIBLE.sub("", text)))
