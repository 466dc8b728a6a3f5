"""Which files and addresses are meant: globs, several separated by commas, and with "!" those that are not. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """``wanted`` empty: everything that is not ``unwanted``."""

    wanted: tuple[re.Pattern[str], ...] = ()
    unwanted: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern such as "docs/**/*.md, !docs/old/**"."""
        globs = [part.strip() for part in text.split(",")]
        wanted = [_expression(glob) for glob in globs if glob and not glob.startswith("!")]
        unwanted = [_expression(glob[1:].strip()) for glob in globs if glob.startswith("!")]
        return cls(wanted=tuple(wanted), unwanted=tuple(unwanted))

    def matches(self, path: str) -> bool:
        """Tell whether a path, with "/" between its parts and none before them, is meant."""
        return (not self.wanted or any(one.fullmatch(path) for one in self.wanted)) and not any(
            one.fullmatch(path) for one in self.unwanted
        )

    def matches_address(self, url: str) -> bool:
        """Tell whether an address is meant, by its path and what is asked of it."""
        parts = urlsplit(url)
        path = unquote(parts.path).lstrip("/")
        return self.matches(f"{path}?{parts.query}" if parts.query else path)


def _expression(glob: str) -> re.Pattern[str]:
    """Return what a glob matches: "*" and "?" within a part of a path, "**" any number of parts."""
    return re.compile("".join(_pieces(glob.lstrip("/"))), re.DOTALL)


def _pieces(glob: str) -> Iterator[str]:
    for found in re.finditer(r"\*\*/|\*+|\?|[^*?]+", glob):
        match found[0]:
            case "**/":
                yield "(?:[^/]+/)*"
            case "**":
                yield ".*"
            case "?":
                yield "[^/]"
            case stars if stars.startswith("*"):
                yield "[^/]*"
            case text:
                yield re.escape(text)
