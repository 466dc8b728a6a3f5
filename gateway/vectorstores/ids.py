"""The ids of files, stores and batches: a word and 32 digits. Pure."""

import re
import uuid

_DIGITS = re.compile(r"[0-9a-f]{32}")


def uid_of(text: str, start: str) -> uuid.UUID | None:
    """Return what the id ``text`` stands for; None if it is no id that begins with ``start``."""
    digits = text.removeprefix(start)
    return uuid.UUID(digits) if digits != text and _DIGITS.fullmatch(digits) else None
