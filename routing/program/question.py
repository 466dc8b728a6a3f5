"""What the program is asked: the experts it may name, and the conversation, cut to what tells who should answer. Pure.

A small local model reads a few hundred tokens a second, so every line here is time that a request waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from routing.catalog import Expert

HEAD, TAIL = 900, 300
"""Characters of the last message: what is wanted stands at its beginning or its end, material in the middle."""
LONGEST_REASON = 120  # characters; a small model writes on and on if it may
EARLIER_TURNS, LONGEST_EARLIER = 2, 160
LONGEST_DESCRIPTION = 240
OPENED, CLOSED = "<conversation>", "</conversation>"
_MARK = re.compile(r"<(?=\s*/?\s*conversation\b)", re.IGNORECASE)
_CUT = " […] "


def inputs_for(prompt: str, experts: Iterable[Expert], *, earlier: Sequence[str] = ()) -> dict[str, str]:
    """Return the inputs of the program for a message, the user turns ``earlier`` than it, and who may answer it."""
    return {"experts": described(experts), "conversation": conversation(prompt, earlier)}


def described(experts: Iterable[Expert]) -> str:
    """Return a line for each expert: its slug, a colon, its name and what it is for."""
    return "\n".join(_line(expert) for expert in experts)


def _line(expert: Expert) -> str:
    name, description = _flat(expert.name), _flat(expert.description)[:LONGEST_DESCRIPTION]
    said = " — ".join(part for part in (name if name.lower() != expert.slug else "", description) if part)
    return f"{expert.slug}: {said or name or expert.slug}"


def slugs_of(experts: str) -> tuple[str, ...]:
    """Return the slugs of what ``described`` wrote."""
    return tuple(line.split(":", 1)[0] for line in experts.splitlines() if line)


def conversation(prompt: str, earlier: Sequence[str] = ()) -> str:
    """Return the conversation between its marks, which nothing in it can close; at most about 1,600 characters."""
    turns = [turn for text in earlier[-EARLIER_TURNS:] if (turn := _flat(_plain(text)))]
    lines = [f"Earlier: {_ends(turn, LONGEST_EARLIER, 0)}" for turn in turns]
    lines.append(_ends(_plain(prompt).strip(), HEAD, TAIL))
    return "\n".join((OPENED, *lines, CLOSED))


def schema_for(permitted: Iterable[str]) -> dict[str, Any]:
    """Return the JSON schema of an answer; its expert comes first, so that an answer cut short still names one."""
    properties: dict[str, Any] = {
        "expert": {"type": "string", "enum": list(permitted)},
        "confidence": {"type": "number"},  # without bounds: not every server's grammar knows them
        "reason": {"type": "string", "maxLength": LONGEST_REASON},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _plain(text: str) -> str:
    """Return ``text`` as any model server takes it, without marks of its own."""
    found = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return _MARK.sub("‹", found)


def _ends(text: str, head: int, tail: int) -> str:
    if len(text) <= head + tail + len(_CUT):
        return text
    return f"{text[:head].rstrip()}{_CUT}{text[len(text) - tail :].lstrip()}".rstrip()


def _flat(text: str) -> str:
    return " ".join(text.split())
