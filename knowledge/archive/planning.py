"""What becomes of an archive here: its name, and which embedding models of this installation stand for those in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knowledge.archive.checking import Checked
from knowledge.archive.rows import Row
from knowledge.collections import slug_check
from knowledge.exceptions import BadArchive
from knowledge.inprocess import MODELS as IN_PROCESS
from knowledge.models import Collection, EmbeddingModel, EmbeddingSource
from routing.exceptions import BadRequest
from routing.models import Expert, InstalledModel

BESIDE = ("previous_model", "next_model")
PREFIXES = ("query_prefix", "passage_prefix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``models`` are those here by the ids in the archive, ``new_models`` are to be made; ``notes`` are for people."""

    slug: str
    models: Mapping[int, EmbeddingModel]
    new_models: tuple[int, ...] = ()
    experts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def planned(checked: Checked, *, slug: str, may_register: bool) -> Plan:
    """Return how an archive that was checked is to be written.

    Raises BadRequest where its name is taken, or where it needs an embedding model that is not as it is in the archive,
    or, but for those who ``may_register`` it, not there.
    """
    row = checked.collection
    slug = slug or row["slug"]
    _check_slug(slug)
    own = row["embedding_model"]
    kept = {row[name] for name in BESIDE} - {None, own}
    models: dict[int, EmbeddingModel] = {}
    new: list[int] = []
    notes: list[str] = []
    for number, model in checked.models.items():
        known = EmbeddingModel.objects.filter(name=model["name"]).first()
        if known is None and number == own and not may_register:
            raise BadRequest(
                f"There is no embedding model '{model['name']}' here. An administrator has to add it first."
            )
        if known is None and (number == own or (number in kept and may_register)):
            new.append(number)
            notes.extend(_new_notes(model))
        elif known is not None and not (problem := _unlike(model, known)):
            models[number] = known
            notes.extend(_prefix_notes(model, known) if number == own else ())
        elif number == own:
            raise BadRequest(problem)
        elif number in kept:
            notes.append(f"The vectors by '{model['name']}' beside those that are searched are left out.")
    experts = _experts(row, notes)
    return Plan(slug=slug, models=models, new_models=tuple(new), experts=experts, notes=tuple(notes))


def _check_slug(slug: str) -> None:
    slug_check(slug)
    if Collection.objects.filter(slug=slug).exists():
        raise BadRequest(
            f"There is a collection '{slug}' already, which is not overwritten. Give the imported one another name "
            "(--slug), or delete the other.",
            param="slug",
            code="collection_exists",
        )


def _unlike(model: Row, known: EmbeddingModel) -> str:
    """Return why vectors of a model in an archive are not those of the model here that is called the same."""
    if model["dimensions"] != known.dimensions:
        return (
            f"Its vectors by '{known}' have {model['dimensions']:,} numbers, and here those of that name have "
            f"{known.dimensions:,}: it is another model. Rename one of the two, or export the collection with another."
        )
    if model["source"] != known.source:
        return f"'{known}' runs in the process at one of the two installations and on a model server at the other."
    return ""


def _prefix_notes(model: Row, known: EmbeddingModel) -> list[str]:
    if all(model[name] == getattr(known, name) for name in PREFIXES):
        return []
    return [f"'{known}' is given other words before a text here than where the collection was exported."]


def _new_notes(model: Row) -> list[str]:
    name = model["name"]
    if model["source"] == EmbeddingSource.IN_PROCESS:
        if name in IN_PROCESS:
            return []
        raise BadArchive(
            f"This version has no embedding model '{name}' in its process, by which its vectors were made."
        )
    tags = (name, name if ":" in name else f"{name}:latest")
    if InstalledModel.objects.filter(server__enabled=True, name__in=tags).exists():
        return [f"The embedding model '{name}' is new here; a model server has it."]
    return [
        f"The embedding model '{name}' is new here, and no model server has it: until one does, questions are searched "
        f"by their words alone. Pull it ('manage.py models pull {name}'), or embed the collection with another model."
    ]


def _experts(row: Row, notes: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in ("reranker", "condenser"):
        if not (slug := row[name]):
            continue
        expert = Expert.objects.filter(slug=slug).first()
        if expert is None:
            notes.append(f"There is no expert '{str(slug)[:100]}' here; the collection has no {name}.")
        else:
            found[slug] = expert.pk
    return found
