"""Masks of one request: the same text has the same mask in it, and may come back in the answer. Pure."""

from collections.abc import Iterable

import regex  # type: ignore[import-untyped]

from gateway.guards.findings import Span
from gateway.guards.patterns import Pattern, Patterns
from gateway.guards.scanning import Masker


class Masks:
    """What was masked, and by what; ``taken`` are texts that masks must not be mistaken for."""

    def __init__(self) -> None:
        self._masks: dict[tuple[str, str], str] = {}
        self._originals: dict[str, str] = {}
        self._taken: frozenset[str] = frozenset()

    def avoid(self, texts: Iterable[str]) -> None:
        """Give out no mask that stands in ``texts`` already."""
        self._taken = self._taken.union(*(map(_LIKE_ONE.findall, texts)))

    def numbered(self, span: Span, text: str, *, restore: bool) -> str:
        """Return the mask of ``text``, such as [EMAIL_1]; with ``restore`` it may come back."""
        mask = self._masks.get((span.label, text))
        if mask is None:
            mask = self._masks[span.label, text] = self._new(span.label)
        if restore:
            self._originals[mask] = text
        return mask

    def _new(self, label: str) -> str:
        number = 1 + sum(known == label for known, _ in self._masks)
        while (mask := f"[{label}_{number}]") in self._taken:
            number += 1
        self._taken |= {mask}
        return mask

    @property
    def masked(self) -> dict[str, str]:
        """The texts that were masked, with their masks."""
        return {text: mask for (_, text), mask in self._masks.items()}

    @property
    def restored(self) -> dict[str, str]:
        """The texts that may come back, with their masks."""
        return {original: mask for mask, original in self._originals.items()}

    def restoring(self) -> Masker | None:
        """Return what puts texts in the place of their masks again, None where there is nothing to put back."""
        if not self._originals:
            return None
        expression = regex.compile("|".join(map(regex.escape, self._originals)))
        pattern = Pattern(category="mask", label="MASK", expression=expression, hints=("[",))
        return Masker(patterns=Patterns.together((pattern,)), replace=self._original)

    def _original(self, _: Span, mask: str) -> str:
        return self._originals[mask]


_LIKE_ONE = regex.compile(r"\[[A-Z_]+_\d+\]")


def plain(span: Span, _: str) -> str:
    """Return the mask of what an answer holds, such as [EMAIL]."""
    return f"[{span.label}]"
