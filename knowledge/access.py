"""Who may see which collections."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """What somebody may do with a collection; each level includes those before it."""

    READ = 1
    WRITE = 2
    MANAGE = 3


Rule = tuple[str, Level]
"""A pattern of slugs, and the most that may be done with the collections that it fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose request it is, as collections see it: an API key's id and group, or somebody who may everything.

    Each of ``narrowed`` permits no more than one of its rules does, whatever the collections allow.
    """

    key_id: int | None = None
    group: str = ""
    everything: bool = False
    narrowed: tuple[tuple[Rule, ...], ...] = ()

    @property
    def is_boundless(self) -> bool:
        return self.everything and not self.narrowed

    def permits(self, slug: str, level: Level) -> bool:
        """Tell whether a collection of that name may be used at ``level``, as far as that does not lie with itself."""
        return all(any(fits(slug, pattern) for pattern in patterns) for patterns in self.patterns(level))

    def patterns(self, level: Level) -> Iterator[tuple[str, ...]]:
        """Yield patterns of slugs; what is used at ``level`` must fit one of each."""
        return (tuple(pattern for pattern, most in rules if most >= level) for rules in self.narrowed)


EVERYTHING = Access(everything=True)
"""For people in the admin and commands on the machine itself."""


def fits(name: str, pattern: str) -> bool:
    """Tell whether a name fits a pattern, in which * stands for anything; in a time that grows with their lengths."""
    start, *middle = pattern.split("*")
    if not middle:
        return name == pattern
    end = middle.pop()
    if len(name) < len(start) + len(end) or not (name.startswith(start) and name.endswith(end)):
        return False
    place, last = len(start), len(name) - len(end)
    for part in middle:
        place = name.find(part, place, last) + len(part)
        if place < len(part):
            return False
    return True


def regex(pattern: str) -> str:
    """Return a pattern as a regular expression that PostgreSQL reads."""
    return f"^{'.*'.join(re.escape(part) for part in re.split(r'[*]+', pattern))}$"
