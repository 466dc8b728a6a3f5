"""Texts of others as they stand in a prompt: marked off so that they cannot step out of their quotation. Pure.

Every document is untrusted: whoever could put a sentence into it could put an order into it. So a passage stands
between two lines with a random code that its author cannot have known, and what a chat template or a reader of the
prompt could take for structure is made harmless.
"""

import re
from collections.abc import Iterable

from routing.quoting import disarmed

# References of the text's own, which a model would copy and which would then point at our passages. Directly after
# a letter they may be an index in code, after a bracket a part of a link.
_REFERENCE = re.compile(r"(?<![\w\])])\[(\^?\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\](?!\()")


def harmless(text: str) -> str:
    """Return ``text`` without what could end its quotation, begin another turn, or pass for a citation of ours."""
    return _REFERENCE.sub(r"(\1)", disarmed(text))


def one_line(text: str, longest: int) -> str:
    """Return ``text`` harmless and on one line, for a title or a heading."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def quoted(number: int, code: str, facts: Iterable[str], text: str) -> str:
    """Return a passage between its two lines, its ``facts`` (each on one line) before the text."""
    return "\n".join((f"<passage {number} {code}>", *facts, harmless(text).strip(), f"</passage {number} {code}>"))
