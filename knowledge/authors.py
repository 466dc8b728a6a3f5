"""Who made something of the knowledge base: somebody who is logged in, or a client by the name of its key."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """``user`` is whoever is logged in, if anybody is."""

    user: Any = None
    name: str = ""

    @classmethod
    def of(cls, user: Any) -> "Author":
        return cls(user=user, name=user.get_username())

    def fields(self) -> dict[str, Any]:
        """Return what rows of revisions and edits keep of it."""
        return {"author": self.user, "author_name": self.name[:200]}


NOBODY = Author()
"""The program itself, or somebody that it was not told of."""
