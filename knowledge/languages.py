"""Which language a document is in."""

from collections.abc import Sequence

from knowledge.blocks import Block, BlockKind
from routing.language import LONGEST, SURE, language_scored

SAMPLES = 9
"""Places of a document that are looked at; the language of most of them is its own."""
BELIEVED = 1.5
"""Likelihoods that must come together for a language to be believed against the one that is expected."""
WRITTEN_APART = frozenset(
    code
    for row in ("ar bn el fa gu he hi hy ja ka km kn ko lo ml mr my", "ne pa ru si sr ta te th uk ur yi zh")
    for code in row.split()
)
"""Languages that their writing tells from those in Latin letters."""


def document_language(blocks: Sequence[Block], *, likely: str = "") -> str:
    """Return the ISO 639-1 code of a document's language, ``likely`` where its text does not say another for sure.

    A title or a few names look like any language: they are taken for the expected one, unless their writing differs.
    """
    texts = [block.text for block in blocks if block.kind is BlockKind.TEXT] or [block.text for block in blocks]
    text = "\n".join(texts)
    weights: dict[str, float] = {}
    for start in range(0, len(text), max(LONGEST, -(-len(text) // SAMPLES))):
        code, score = language_scored(text[start:])
        if score >= SURE:
            weights[code] = weights.get(code, 0.0) + score
    found = max(weights, key=lambda code: (weights[code], code), default="")
    unsure = not found or (not {found, likely} & WRITTEN_APART and weights[found] < BELIEVED)
    return likely if likely and unsure else found
