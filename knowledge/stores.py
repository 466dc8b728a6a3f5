"""Collections made as vector stores: by a name for people, from which the one for clients is made."""

import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.text import slugify

from knowledge.access import EVERYTHING, Access, Level
from knowledge.collections import collection_create
from knowledge.filing import OwnCut
from knowledge.models import Collection
from routing.exceptions import BadRequest

LONGEST_STEM = 80
LONGEST_SLUG = 100
NUMBERED = 20
"""Names that are tried with a number before chance makes one."""


def store_create(
    *,
    name: str = "",
    description: str = "",
    metadata: Mapping[str, str] | None = None,
    expires_after_days: int | None = None,
    cut: OwnCut = (None, None),
    sample: Iterable[str] = (),
    access: Access = EVERYTHING,
) -> Collection:
    """Make a collection under a slug that is free, cut as others unless ``cut`` says otherwise.

    Its embedding model suits the languages of ``sample``. Raises BadRequest for settings that make no sense, and where
    no slug is left that ``access`` may manage.
    """
    wished = {"chunk_tokens": cut[0], "chunk_overlap": cut[1]}
    settings: dict[str, Any] = {name: value for name, value in wished.items() if value is not None}
    texts = list(sample)
    for slug in _slugs(name, access):
        if Collection.objects.filter(slug=slug).exists():
            continue
        try:
            return collection_create(
                slug=slug,
                name=name,
                description=description,
                sample=texts,
                metadata=dict(metadata or {}),
                expires_after_days=expires_after_days,
                **settings,
            )
        except BadRequest as error:
            if error.param != "slug":  # another was made under it at this moment
                raise
    raise BadRequest(f"No name for clients could be made of '{name}'. Choose another one.", param="name")


def _slugs(name: str, access: Access) -> Iterator[str]:
    stem = slugify(name)[:LONGEST_STEM].strip("-_") or "store"
    endings = ("", *(f"-{number}" for number in range(2, NUMBERED)), f"-{secrets.token_hex(6)}")
    # Who asks for a store cannot choose its slug; so one is made that fits where only some may be used.
    patterns = [pattern for some in access.patterns(Level.MANAGE) for pattern in some]
    for start in ("*", *patterns):
        slugs = (start.replace("*", f"{stem}{ending}") for ending in endings)
        yield from (slug for slug in slugs if len(slug) <= LONGEST_SLUG and access.permits(slug, Level.MANAGE))
