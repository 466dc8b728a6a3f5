"""Signals: what in a text speaks to a model rather than to people. Pure; no text is judged here, only pointed at.

They are looked for when chunks are written, so that an administrator sees them, and so that a request whose prompt
holds such a text can be answered without its tools. None of it is proof in either direction: a text about injections
has signals, and an order in words that nobody foresaw has none.
"""

from knowledge.signals.encoded import decoded
from knowledge.signals.hidden import hidden, without_hidden
from knowledge.signals.marks import marks
from knowledge.signals.names import LABELS
from knowledge.signals.plain import plain
from knowledge.signals.wordings import worded

__all__ = ["LABELS", "signals_of"]


def signals_of(*texts: str) -> tuple[str, ...]:
    """Return the signals of ``texts`` taken together, such as ("override", "exfiltration"), in the order of LABELS.

    About 60 µs for a chunk of a thousand characters.
    """
    whole = "\n".join(text for text in texts if text)
    found = hidden(whole) if not whole.isascii() else frozenset[str]()
    shown = without_hidden(whole) if not whole.isascii() else whole
    found |= marks(shown) | worded(plain(shown))
    if any(worded(plain(inner)) | marks(inner) for inner in decoded(shown)):
        found |= {"encoded"}
    return tuple(name for name in LABELS if name in found)
