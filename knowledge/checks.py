"""Whether the knowledge base can be read and added to. Run by `manage.py doctor` and `check --database`."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register

from routing.checks import checked

Findings = Iterator[CheckMessage]


@register(Tags.database)
def check_knowledge(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    return checked(databases, _embedders, _named, _watched)


def _embedders() -> Findings:
    """Find collections whose questions nobody can turn into vectors."""
    from knowledge.embedding import MINILM, MULTILINGUAL
    from knowledge.models import Collection, EmbeddingModel
    from routing.models import InstalledModel

    used = EmbeddingModel.objects.filter(pk__in=Collection.objects.values("embedding_model"))
    installed = {name.removesuffix(":latest") for name in InstalledModel.objects.values_list("name", flat=True)}
    for model in used:
        there = {MINILM, MULTILINGUAL} if model.source == "in_process" else installed
        if model.name.removesuffix(":latest") not in there:
            yield Warning(
                f"Collections are searched by the embedding model '{model.name}', which is not there.",
                hint="Pull it on an enabled model server, or give these collections another embedding model in the "
                "admin; until then their searches go by words alone, or fail.",
                id="knowledge.W001",
            )


def _named() -> Findings:
    """Find rules and profiles that ground answers in collections that do not exist."""
    from knowledge.models import Collection
    from routing.models import RoutingProfile, RoutingRule

    there = set(Collection.objects.values_list("slug", flat=True))
    for kind in (RoutingRule, RoutingProfile):
        for row in kind.objects.filter(enabled=True):
            named = {*row.collections, *getattr(row, "evidence_collections", ())}
            if gone := sorted(named - there):
                yield Warning(
                    f"The {kind._meta.verbose_name} “{row}” names collections that do not exist: {', '.join(gone)}.",
                    hint="Create them, or take them out in the admin.",
                    id="knowledge.W002",
                )


def _watched() -> Findings:
    """Find watched folders and repositories of this machine that may not be read, or are gone."""
    from knowledge.models import WatchedSource
    from knowledge.watching.findings import SourceFailed
    from knowledge.watching.places import source_check

    for source in WatchedSource.objects.filter(enabled=True):
        try:
            source_check(kind=source.kind, location=source.location, branch=source.branch)
        except SourceFailed as error:
            yield Warning(
                f"The watched source {source.location} cannot be read: {error}",
                hint="Set WATCH_FOLDERS, mount the folder, or disable the source in the admin.",
                id="knowledge.W003",
            )
