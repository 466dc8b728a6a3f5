"""Who may see which collections."""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """What somebody may do with a collection; each level includes those before it."""

    READ = 1
    WRITE = 2
    MANAGE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whose request it is, as collections see it: an API key's id and group, or somebody who may everything."""

    key_id: int | None = None
    group: str = ""
    everything: bool = False


EVERYTHING = Access(everything=True)
"""For people in the admin and commands on the machine itself."""
