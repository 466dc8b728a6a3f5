"""Bytes of a text in whatever encoding, as text."""

import codecs
import re

from knowledge.parsing.failure import ParseFailed

# Longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SAMPLE = 64 * 1024  # guessing looks at so many bytes; more makes it slow, not better
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_SHIFTS = b"\x1b$"
REPLACEMENT = "\ufffd"
# UTF-8 that was read as Latin-1 and written as UTF-8 again: letters followed by control characters no text has.
_TWICE = re.compile(
    "[\xc2-\xdf][\x80-\x9f]|[\xe0-\xef](?=[\x80-\xbf]?[\x80-\x9f])[\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


def decode(data: bytes, declared: str = "") -> str:
    """Return ``data`` as text: by its byte order mark, as UTF-8, as ``declared``, or as it looks most like.

    Raises ParseFailed for what is no text at all.
    """
    if marked := _by_mark(data):
        return marked
    if declared and _SHIFTS in data and (shifted := _as_declared(data, declared)) is not None:
        return shifted  # ISO-2022: other scripts in seven bits, which are valid UTF-8 too
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = _in_other_encoding(data, declared)
    else:
        if "\0" in text[:SAMPLE]:
            text = _in_other_encoding(data, declared)  # UTF-16 of ASCII is valid UTF-8, full of NULs
    if not looks_like_text(text[:SAMPLE]):
        raise ParseFailed(
            "unsupported",
            "The file is of a kind that is not known here and holds no plain text. Convert it to PDF, DOCX, HTML, "
            "Markdown or plain text.",
        )
    return _TWICE.sub(_once, text)


def _once(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("utf-8", "ignore") or match[0]


def looks_like_text(text: str) -> bool:
    """Tell whether ``text`` is something to read: few control characters and few that could not be decoded."""
    odd = len(_CONTROL.findall(text)) + text.count(REPLACEMENT)
    return odd <= len(text) * 0.05


def _by_mark(data: bytes) -> str | None:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    return None


def _in_other_encoding(data: bytes, declared: str) -> str:
    if wide := _wide(data):
        return data.decode(wide, "replace")
    if declared and (text := _as_declared(data, declared)) is not None:
        return text
    mostly = data.decode("utf-8", "replace")
    damaged = mostly.count(REPLACEMENT)
    # UTF-8 that was cut in a character or patched with other bytes: nothing else has so many valid sequences.
    if 4 * damaged < sum(character > "\x7f" for character in mostly) - damaged:
        return mostly
    return data.decode(_guessed(data), "replace")


def _wide(data: bytes) -> str:
    """Return UTF-16's or UTF-32's name for text full of NULs at every second or fourth place."""
    sample = data[: SAMPLE // 16 * 4]
    if len(sample) < 4 or b"\0" not in sample:
        return ""
    shares = [sample[place::4].count(0) / len(sample[place::4]) for place in range(4)]
    for encoding, full, empty in (
        ("utf-32-le", (0,), (2, 3)),
        ("utf-32-be", (3,), (0, 1)),
        ("utf-16-le", (0, 2), (1, 3)),
        ("utf-16-be", (1, 3), (0, 2)),
    ):
        if all(shares[place] > 0.5 for place in empty) and all(shares[place] < 0.1 for place in full):
            return encoding
    return ""


def _as_declared(data: bytes, declared: str) -> str | None:
    try:
        encoding = codecs.lookup(declared).name
        # What is declared as Latin-1 is Windows' extension of it, as every browser knows.
        text = data.decode("cp1252" if encoding in ("iso8859-1", "ascii") else encoding, "replace")
    except (LookupError, ValueError):
        return None  # an encoding nobody knows, or one that is none of text ("hex")
    return text if looks_like_text(text[:SAMPLE]) else None


def _guessed(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:SAMPLE]).best()
    return best.encoding if best else "cp1252"
