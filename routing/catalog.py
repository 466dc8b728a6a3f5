"""What can answer, as one immutable value: experts, their replicas, rules and installed models."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from routing.backends.protocol import Json, ServerAddress
from routing.live import LiveSnapshot
from routing.rules import Rule

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A model on a server; ``capabilities`` is None when the server does not tell them."""

    server: ServerAddress
    embedded: bool
    model: str
    num_ctx: int | None = None
    keep_alive: str | None = None
    context_length: int | None = None
    capabilities: frozenset[str] | None = None

    @property
    def label(self) -> str:
        return f"{self.model}@{self.server.name}"

    def can(self, needs: frozenset[str]) -> bool:
        return self.capabilities is None or needs <= self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """Who can be asked; an installed model asked for by its own name is an expert without a row (id None)."""

    slug: str
    id: int | None = None
    name: str = ""
    description: str = ""
    system_prompt: str = ""
    defaults: Json = field(default_factory=dict)
    replicas: tuple[Replica, ...] = ()

    def replicas_that(self, needs: frozenset[str]) -> tuple[Replica, ...]:
        return tuple(replica for replica in self.replicas if replica.can(needs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """``experts`` by slug and ``models`` by tag; ``rules`` in the order they are tried."""

    experts: Mapping[str, Expert]
    models: Mapping[str, Expert]
    rules: tuple[Rule, ...]
    default: str | None

    def find(self, name: str) -> Expert | None:
        return self.experts.get(name) or self.models.get(name) or self.models.get(f"{name}:latest")


def load() -> Catalog:
    from routing import models

    servers = {server.pk: server for server in models.ModelServer.objects.filter(enabled=True)}
    addresses = {pk: server.address() for pk, server in servers.items()}
    installed = {
        (model.server_id, model.name): model for model in models.InstalledModel.objects.filter(server__in=servers)
    }

    def replica(server_id: int, tag: str, num_ctx: int | None = None, keep_alive: str | None = None) -> Replica:
        found = installed.get((server_id, tag)) or installed.get((server_id, f"{tag}:latest"))
        window = found.context_length if found else None
        return Replica(
            server=addresses[server_id],
            embedded=servers[server_id].embedded,
            model=tag,
            num_ctx=min(num_ctx, window) if num_ctx and window else num_ctx,
            keep_alive=keep_alive or None,
            context_length=window,
            capabilities=frozenset(found.capabilities) if found and found.capabilities is not None else None,
        )

    by_expert: dict[int, list[Replica]] = {}
    for row in models.Replica.objects.filter(enabled=True, server__in=servers):
        by_expert.setdefault(row.expert_id, []).append(replica(row.server_id, row.model, row.num_ctx, row.keep_alive))
    experts, default = {}, None
    for row in models.Expert.objects.filter(enabled=True):
        # Whoever has a model server of their own did not mean the small embedded model to answer first.
        replicas = sorted(by_expert.get(row.pk, ()), key=lambda candidate: candidate.embedded)
        experts[row.slug] = Expert(
            slug=row.slug,
            id=row.pk,
            name=row.name,
            description=row.description,
            system_prompt=row.system_prompt,
            defaults=row.defaults,
            replicas=tuple(replicas),
        )
        if row.is_default:
            default = row.slug
    by_tag: dict[str, list[Replica]] = {}
    for model in installed.values():
        if model.answers_chats:
            by_tag.setdefault(model.name, []).append(replica(model.server_id, model.name))
    return Catalog(
        experts=experts,
        models={tag: Expert(slug=tag, name=tag, replicas=tuple(replicas)) for tag, replicas in by_tag.items()},
        rules=tuple(
            Rule(
                id=row.pk,
                name=row.name,
                priority=row.priority,
                expert=row.expert.slug,
                keywords=tuple(row.keywords),
            )
            for row in models.RoutingRule.objects.filter(enabled=True, expert__enabled=True).select_related("expert")
        ),
        default=default,
    )


catalog: LiveSnapshot[Catalog] = LiveSnapshot(load, name="catalog")


def connect_signals() -> None:
    from routing import models

    catalog.watch((models.ModelServer, models.InstalledModel, models.Expert, models.Replica, models.RoutingRule))
