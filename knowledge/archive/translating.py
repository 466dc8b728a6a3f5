"""Ids that stand inside of values, and not in columns of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from knowledge.archive.rows import Row
from knowledge.exceptions import BadArchive
from knowledge.golden import AGAINST

GONE = 0
"""Stands for a row that is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbered:
    """``row`` gives a row's new id by its table and its old one, ``models`` are those of embedding models."""

    row: Callable[[str, Any], Any]
    models: Mapping[int, int]

    def there(self, table: str, old: Any) -> int:
        """Return a row's new id, or GONE: what a measurement found may have been deleted since."""
        if not isinstance(old, int):
            return GONE
        try:
            return int(self.row(table, old))
        except BadArchive:
            return GONE


def _revision(row: Row, new: Renumbered) -> None:
    row["chunk_ids"] = [new.row("chunks", chunk) for chunk in row["chunk_ids"]]
    row["edits"] = [entry | {"id": new.row("edits", entry["id"])} for entry in row["edits"]]
    row["recipe"] = _recipe(row["recipe"], new.models)
    worse = row["held_back"].get("worse")
    if isinstance(worse, list):
        row["held_back"]["worse"] = [
            one | {"id": new.there("golden_queries", one.get("id"))} for one in worse if isinstance(one, dict)
        ]


def _recipe(recipe: str, models: Mapping[int, int]) -> str:
    """Return how a revision was made with the embedding model as it is numbered here (Collection.recipe)."""
    version, colon, rest = recipe.partition(":")
    model, more, rest = rest.partition(":")
    if not (colon and more and model.isascii() and model.isdigit()):
        return recipe
    return f"{version}:{models.get(int(model), GONE)}:{rest}"


def _evaluation(row: Row, new: Renumbered) -> None:
    if isinstance(row["settings"].get(AGAINST), int):
        row["settings"][AGAINST] = new.there("evaluations", row["settings"][AGAINST])
    row["details"] = [_detail(one, new) for one in row["details"] if isinstance(one, dict)]


def _detail(detail: Row, new: Renumbered) -> Row:
    found = detail.get("found")
    shown = [
        one | {"document": new.there("documents", one.get("document"))}
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict)
    ]
    return detail | {"id": new.there("golden_queries", detail.get("id"))} | ({"found": shown} if found else {})


INSIDE: Mapping[str, Callable[[Row, Renumbered], None]] = {"revisions": _revision, "evaluations": _evaluation}
