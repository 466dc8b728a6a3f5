"""What can answer, as one immutable value: experts, their replicas, rules and installed models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from routing.backends.protocol import Json, ServerAddress, ServerKind
from routing.live import LiveSnapshot
from routing.rules import Rule

if TYPE_CHECKING:
    from routing import models
    from routing.models import InstalledModel, ModelServer

AUTO = "auto"
"""The profile that always exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A model on a server; ``capabilities`` is None when the server does not tell them.

    ``revision`` is the server's digest of the model's files and parameters, "" where it tells none.
    """

    server: ServerAddress
    embedded: bool
    model: str
    num_ctx: int | None = None
    keep_alive: str | None = None
    concurrency: int = 4
    context_length: int | None = None
    capabilities: frozenset[str] | None = None
    parameters: float | None = None  # in thousand millions, where the server tells
    revision: str = ""

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
    fallbacks: tuple[str, ...] = ()
    answers_while_loading: bool = False
    text_only: bool = False
    price_in: float = 0.0  # of a million tokens read
    price_out: float = 0.0  # of a million tokens written
    replicas: tuple[Replica, ...] = ()

    @property
    def price(self) -> float:
        """Return the price of a million tokens, read and written, on average."""
        return (self.price_in + self.price_out) / 2

    def replicas_that(self, needs: frozenset[str]) -> tuple[Replica, ...]:
        return tuple(replica for replica in self.replicas if replica.can(needs))


class Mode(StrEnum):
    """How many of a profile's experts answer: one, several at a time, or several one after the other."""

    ROUTE = "route"
    MIXTURE = "mixture"
    CASCADE = "cascade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """How a mixture or a cascade goes about it; see the fields of the same names of ``models.RoutingProfile``.

    ``aggregator`` is a slug, None for the expert that would have answered alone; ``patience`` is in seconds.
    """

    breadth: int = 3
    breadth_most: int = 5
    aggregator: str | None = None
    agreement: float = 0.6
    confidence: float = 0.6
    patience: float = 30.0
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A virtual model; ``experts`` may answer (empty: every one), the weights choose among those that suit alike.

    ``answers_while_loading`` and ``text_only`` are None where the expert is to say.
    """

    slug: str
    name: str = ""
    description: str = "Routes each request to the expert that suits it."
    experts: frozenset[str] = frozenset()
    quality: float = 1.0
    speed: float = 0.2
    cost: float = 0.0
    strength: float = 0.0
    asks_program: bool = True
    mode: Mode = Mode.ROUTE
    mixing: Mixing = Mixing()
    system_prompt: str = ""
    defaults: Json = field(default_factory=dict)
    collections: tuple[str, ...] = ()
    sticky: bool = True
    fallbacks: bool = True
    answers_while_loading: bool | None = None
    text_only: bool | None = None
    log_share: int = 100
    log_prompts: bool = False
    cache: str = ""
    cache_threshold: float = 0.95

    def lends(self, expert: Expert) -> Expert:
        """Return ``expert`` as it answers for this profile."""
        while_loading = self.answers_while_loading
        return replace(
            expert,
            system_prompt=self.system_prompt or expert.system_prompt,
            defaults={**expert.defaults, **self.defaults},
            answers_while_loading=expert.answers_while_loading if while_loading is None else while_loading,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """``experts`` by slug, ``models`` and ``embedders`` by tag; ``rules`` in the order they are tried.

    An embedder is a model that embeds, or that its server does not tell about.
    """

    experts: Mapping[str, Expert]
    models: Mapping[str, Expert]
    rules: tuple[Rule, ...]
    default: str | None
    embedders: Mapping[str, Expert] = field(default_factory=dict)
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {AUTO: Profile(slug=AUTO)})

    def find(self, name: str) -> Expert | None:
        return self.experts.get(name) or self.models.get(name) or self.models.get(f"{name}:latest")

    def find_embedder(self, name: str) -> Expert | None:
        return self.embedders.get(name) or self.embedders.get(f"{name}:latest")


def load() -> Catalog:
    """Read the catalog from the database."""
    from routing import models
    from routing.ruleset import rules_load

    servers = {server.pk: server for server in models.ModelServer.objects.filter(enabled=True)}
    installed = {
        (model.server_id, model.name): model
        for model in models.InstalledModel.objects.filter(server__in=servers).select_related("server")
    }
    replicas = _Replicas(servers, installed)
    experts = {
        expert.slug: Expert(
            slug=expert.slug,
            id=expert.pk,
            name=expert.name,
            description=expert.description,
            system_prompt=expert.system_prompt,
            defaults=expert.defaults,
            fallbacks=tuple(row.fallback.slug for row in expert.fallbacks.all()),
            answers_while_loading=expert.answers_while_loading,
            text_only=expert.text_only,
            price_in=float(expert.price_in),
            price_out=float(expert.price_out),
            replicas=replicas.of(expert),
        )
        for expert in models.Expert.objects.filter(enabled=True).prefetch_related("replicas", "fallbacks__fallback")
    }
    default = models.Expert.objects.filter(enabled=True, is_default=True).values_list("slug", flat=True).first()
    return Catalog(
        experts=experts,
        models=_models_by_tag(replicas, lambda model: model.answers_chats),
        embedders=_models_by_tag(replicas, _may_embed),
        rules=rules_load(),
        default=default,
        profiles=_profiles(),
    )


def _profiles() -> dict[str, Profile]:
    """Return the enabled profiles by slug; ``auto`` is always there, whatever became of its row."""
    from routing import models

    rows = models.RoutingProfile.objects.filter(enabled=True).select_related("aggregator")
    rows = rows.prefetch_related("experts")
    found = {
        row.slug: Profile(
            slug=row.slug,
            name=row.name,
            description=row.description,
            experts=frozenset(expert.slug for expert in row.experts.all()),
            quality=row.quality,
            speed=row.speed,
            cost=row.cost,
            strength=row.strength,
            asks_program=row.asks_program,
            mode=Mode(row.mode),
            mixing=Mixing(
                breadth=row.breadth,
                breadth_most=row.breadth_most,
                aggregator=row.aggregator.slug if row.aggregator else None,
                agreement=row.agreement,
                confidence=row.confidence,
                patience=float(row.patience),
                prompt=row.aggregator_prompt,
            ),
            system_prompt=row.system_prompt,
            defaults=row.defaults,
            collections=tuple(row.collections),
            sticky=row.sticky,
            fallbacks=row.failover == models.RoutingProfile.Failover.FALLBACKS,
            answers_while_loading=row.answers_while_loading,
            text_only=row.text_only,
            log_share=row.log_share,
            log_prompts=row.log_prompts,
            cache=row.cache,
            cache_threshold=row.cache_threshold,
        )
        for row in rows
    }
    return {AUTO: Profile(slug=AUTO)} | found


class _Replicas:
    """Rows of replicas into values, with what is known of their models."""

    def __init__(
        self, servers: "Mapping[int, ModelServer]", installed: "Mapping[tuple[int, str], InstalledModel]"
    ) -> None:
        self._servers = servers
        self._addresses = {pk: server.address() for pk, server in servers.items()}
        self.installed = installed
        # A model asked for by its own name runs as its replicas do: another window would load it again.
        self._rows: dict[tuple[int, str], models.Replica] = {}

    def of(self, expert: "models.Expert") -> tuple[Replica, ...]:
        enabled = [row for row in expert.replicas.all() if row.enabled and row.server_id in self._servers]
        self._rows |= {(row.server_id, row.model): row for row in enabled}
        replicas = [self.make(row.server_id, row.model) for row in enabled]
        # Whoever has a model server of their own did not mean the small embedded model to answer first.
        return tuple(sorted(replicas, key=lambda replica: replica.embedded))

    def make(self, server_id: int, tag: str) -> Replica:
        row = self._rows.get((server_id, tag))
        num_ctx = row.num_ctx if row else None
        found = self.installed.get((server_id, tag)) or self.installed.get((server_id, f"{tag}:latest"))
        window = found.context_length if found else None
        return Replica(
            server=self._addresses[server_id],
            embedded=self._servers[server_id].embedded,
            model=tag,
            num_ctx=min(num_ctx, window) if num_ctx and window else num_ctx,
            keep_alive=row.keep_alive or None if row else None,
            concurrency=row.concurrency if row else 4,
            context_length=window,
            capabilities=frozenset(found.capabilities) if found and found.capabilities is not None else None,
            parameters=found.parameters if found else None,
            revision=found.digest if found else "",
        )


def _may_embed(model: "InstalledModel") -> bool:
    # llama.cpp says "completion" of every model, those it was started to embed with included.
    tells = model.capabilities is not None and model.server.kind == ServerKind.OLLAMA
    return not tells or "embedding" in (model.capabilities or ())


def _models_by_tag(replicas: _Replicas, wanted: "Callable[[InstalledModel], bool]") -> dict[str, Expert]:
    by_tag: dict[str, list[Replica]] = {}
    for (server_id, tag), model in replicas.installed.items():
        if wanted(model):
            by_tag.setdefault(tag, []).append(replicas.make(server_id, tag))
    return {tag: Expert(slug=tag, name=tag, replicas=tuple(found)) for tag, found in by_tag.items()}


catalog: LiveSnapshot[Catalog] = LiveSnapshot(load, name="catalog")


def connect_signals() -> None:
    from routing import models

    catalog.watch(
        (
            models.ModelServer,
            models.InstalledModel,
            models.Expert,
            models.ExpertFallback,
            models.Replica,
            models.RoutingRule,
            models.RoutingRule.profiles.through,
            models.RoutingRule.candidates.through,
            models.RoutingProfile,
            models.RoutingProfile.experts.through,
        )
    )
