"""What a caller may do and how much of it, as a value that requests are held to. Pure.

A key is held to its own policy and to its group's: it may what both permit, and both limits count.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from knowledge.access import Level, Rule, fits
from routing.addresses import Network, address_of, network_of


class Scope(StrEnum):
    """A kind of things that a key may do; every endpoint needs one."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    KNOWLEDGE = "knowledge"
    ROUTE = "route"
    METRICS = "metrics"
    ADMIN = "admin"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    Scope.CHAT: "chat: completions, responses, feedback",
    Scope.EMBEDDINGS: "embeddings",
    Scope.KNOWLEDGE: "knowledge: search, documents, files, vector stores",
    Scope.ROUTE: "route: decisions without answers",
    Scope.METRICS: "metrics: figures for Prometheus",
    Scope.ADMIN: "admin: keys and everybody's usage",
}
CLIENT_SCOPES = frozenset(Scope) - {Scope.ADMIN}
"""What a key may do that names no scopes."""
ANY_SCOPE = frozenset(Scope)
"""What an endpoint needs that every key may use."""
Needs = Scope | frozenset[Scope]
"""The scope that an endpoint needs, or several of which one is enough."""
_COLLECTIONS = re.compile(r"[A-Za-z0-9_*-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much; None: no limit. Tokens are those read and written; cost is in the currency of the experts' prices."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_per_day: Decimal | None = None
    cost_per_month: Decimal | None = None

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``subject`` is whose limits they are: "key:7", or "group:marketing" for all keys of that group together.

    ``collections`` are patterns of slugs with the level that they permit; empty tuples permit everything.
    """

    subject: str
    scopes: frozenset[Scope] = CLIENT_SCOPES
    models: tuple[str, ...] = ()
    collections: tuple[Rule, ...] = ()
    networks: tuple[Network, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def permits_model(self, name: str) -> bool:
        """Tell whether a profile, expert or model may be asked for by ``name``."""
        return not self.models or any(fits(name, pattern) for pattern in self.models)

    def permits_address(self, text: str) -> bool:
        """Tell whether a request may come from an address; what is none may come from nowhere."""
        if not self.networks:
            return True
        try:
            found = address_of(text)
        except ValueError:
            return False
        return any(found in network for network in self.networks)


def scopes_of(names: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes that are called so; a name that is none permits nothing."""
    known = {scope.value for scope in Scope}
    return frozenset(Scope(name) for name in names if name in known)


def collection_rule(line: str) -> Rule:
    """Return a line such as "handbook: read" as pattern and level; raises ValueError that says what is wrong."""
    pattern, colon, word = (part.strip() for part in line.partition(":"))
    if not _COLLECTIONS.fullmatch(pattern):
        raise ValueError(f"“{line}” names no collection. Write, for example, handbook: read, or team-*: write.")
    try:
        return pattern, Level[word.upper()] if colon else Level.READ
    except KeyError:
        raise ValueError(f"“{line}” must end with read, write or manage.") from None


def model_pattern(line: str) -> str:
    """Return a name of models, in which * stands for anything; raises ValueError that says what is wrong."""
    if not line.strip() or not line.isprintable():
        raise ValueError(f"“{line}” is no name of a model. Write, for example, auto, coding or llama3*.")
    return line.strip()


def scope(name: str) -> Scope:
    """Return the scope that is called so; raises ValueError that says which there are."""
    try:
        return Scope(name)
    except ValueError:
        raise ValueError(f"There is no scope “{name}”. There are: {', '.join(Scope)}.") from None


def network(line: str) -> Network:
    """Return an address or a network; raises ValueError that says what is wrong."""
    try:
        return network_of(line.strip())
    except ValueError:
        raise ValueError(f"“{line}” is no address and no network such as 10.1.0.0/16.") from None
