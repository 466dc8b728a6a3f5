"""Who is asking: API keys, checked against an in-memory copy."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from django.conf import settings
from django.utils import timezone

from gateway.errors import AuthenticationFailed
from gateway.models import WEIGHTS, ApiKey, KeyGroup, Priority, key_digest
from gateway.models import Policy as PolicyRow
from gateway.policy import CLIENT_SCOPES, Limits, Policy, Scope, collection_rule, network, scopes_of
from knowledge.access import Level
from routing.features import Asker
from routing.live import LiveSnapshot

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is; ``key_id`` is None for an anonymous one.

    ``policies`` are the key's own and its group's, if the group has one; an anonymous caller is held to none.
    ``expires_at`` is when the text that was shown stops working. ``address`` is where the request came from.
    """

    key_id: int | None = None
    name: str = "anonymous"
    group: str = ""
    prefix: str = ""
    expires_at: datetime | None = None
    weight: float = 1.0
    policies: tuple[Policy, ...] = ()
    keeps_texts: str = ""  # whose setting keeps prompts and answers: "key", "group", or nobody's
    address: str = ""

    @property
    def tenant(self) -> str:
        """Whose turn it is in a queue: each key is served fairly beside the others."""
        return self.prefix or "anonymous"

    # What REST framework's permissions ask of a user.
    @property
    def is_authenticated(self) -> bool:
        return True

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller may do things of this kind; an anonymous one may do what clients do."""
        return all(scope in policy.scopes for policy in self.policies) if self.policies else scope in CLIENT_SCOPES

    def may_ask(self, name: str) -> bool:
        """Tell whether the caller may ask for the profile, expert or model ``name``; others do not exist for it."""
        return all(policy.permits_model(name) for policy in self.policies)


def load() -> Mapping[str, Caller]:
    """Return who asks, by the digests of the keys' texts; of a key in rotation both texts are there."""
    groups = {row.name: row for row in KeyGroup.objects.all()}
    known: dict[str, Caller] = {}
    for key in ApiKey.objects.usable():
        group = groups.get(key.group)
        caller = Caller(
            key_id=key.pk,
            name=key.name,
            group=key.group,
            prefix=key.prefix,
            expires_at=key.expires_at,
            weight=WEIGHTS[Priority(key.priority)],
            policies=(policy_of(key, f"key:{key.pk}"), *((policy_of(group, f"group:{group.name}"),) if group else ())),
            keeps_texts="key" if key.keeps_texts else "group" if group and group.keeps_texts else "",
        )
        known[key.digest] = caller
        if key.previous_digest and key.previous_until:
            ends = min(filter(None, (key.expires_at, key.previous_until)))
            known[key.previous_digest] = replace(caller, expires_at=ends)
    return known


def policy_of(row: PolicyRow, subject: str) -> Policy:
    """Return what a row permits; a line of it that cannot be read permits nothing, and is logged."""
    return Policy(
        subject=subject,
        scopes=scopes_of(row.scopes),
        models=tuple(row.allowed_models),
        collections=tuple(_readable(collection_rule, row.allowed_collections, subject, ("", Level.READ))),
        networks=tuple(_readable(network, row.allowed_addresses, subject, network("255.255.255.255"))),
        limits=Limits(**{name: getattr(row, name) for name in Limits.__slots__}),
    )


def _readable(read: Callable[[str], T], lines: Iterable[str], subject: str, instead: T) -> Iterator[T]:
    for line in lines:
        try:
            yield read(line)
        except ValueError as error:
            logger.warning("a line of a policy permits nothing subject=%s error=%s", subject, error)
            yield instead


keys: LiveSnapshot[Mapping[str, Caller]] = LiveSnapshot(load, name="API keys")


def connect_signals() -> None:
    keys.watch((ApiKey, KeyGroup))


def identify(authorization: str | None, known: Mapping[str, Caller]) -> Caller:
    """Return the caller an Authorization header belongs to; raises AuthenticationFailed.

    Keys are found by their digest, so the time this takes tells nothing about how much of a guess was right.
    """
    scheme, _, text = (authorization or "").strip().partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        if not settings.REQUIRE_API_KEY:
            return Caller()
        raise AuthenticationFailed(
            "No API key was given. Send it as 'Authorization: Bearer sk-moe-…' (in an OpenAI client: api_key). "
            "An administrator makes keys in admin or with 'manage.py create_api_key NAME'."
        )
    caller = known.get(key_digest(text))
    if caller is None:
        if not settings.REQUIRE_API_KEY:
            return Caller()  # clients of local servers often send a placeholder
        raise AuthenticationFailed(
            "The API key is not valid: it is unknown here or was revoked. Check that it is complete, or ask an "
            "administrator for a new one."
        )
    if caller.expires_at and caller.expires_at <= timezone.now():
        raise AuthenticationFailed("The API key has expired. Ask an administrator for a new one.")
    return caller


# What a client proves itself with is nothing a rule may look at.
SECRET_HEADERS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


def asker_of(caller: Caller, headers: Mapping[bytes, str]) -> Asker:
    """Return who asks as rules see it; ``headers`` are the request's, their names in lower case."""
    return Asker(
        key=caller.name,
        group=caller.group,
        tenant=caller.tenant,
        headers={name.decode("latin-1"): value for name, value in headers.items() if name not in SECRET_HEADERS},
    )
