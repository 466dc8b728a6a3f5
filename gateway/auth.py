"""Who is asking: API keys, checked against an in-memory copy."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.http.request import split_domain_port, validate_host
from django.utils import timezone

from gateway.errors import AuthenticationFailed, NotFound, PermissionDenied
from gateway.models import WEIGHTS, ApiKey, KeyGroup, Priority, key_digest
from gateway.policy import CLIENT_SCOPES, Needs, Policy, Scope
from routing.current import note_key
from routing.exceptions import BadRequest
from routing.features import Asker
from routing.live import LiveSnapshot

if TYPE_CHECKING:
    from gateway.limits.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is; ``key_id`` is None for an anonymous one.

    ``policies`` are the key's own and its group's, if the group has one; an anonymous caller is held to none.
    ``expires_at`` is when the text that was shown stops working; ``is_former`` is whether a new one has replaced it.
    ``address`` is where the request came from.
    """

    key_id: int | None = None
    name: str = "anonymous"
    group: str = ""
    prefix: str = ""
    expires_at: datetime | None = None
    is_former: bool = False
    weight: float = 1.0
    policies: tuple[Policy, ...] = ()
    keeps_texts: str = ""  # whose setting keeps prompts and answers: "key", "group", or nobody's
    address: str = ""
    # What this one request takes of its limits; None where there are none, and where nobody has let it in yet.
    entry: "Entry | None" = field(default=None, compare=False, repr=False)

    @property
    def tenant(self) -> str:
        """Whose turn it is in a queue: each key is served fairly beside the others."""
        return self.prefix or "anonymous"

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller may do things of this kind; an anonymous one may do what clients do."""
        return all(scope in policy.scopes for policy in self.policies) if self.policies else scope in CLIENT_SCOPES

    @property
    def is_narrowed(self) -> bool:
        """Whether there are models that do not exist for the caller."""
        return any(policy.models for policy in self.policies)

    def may_ask(self, *names: str) -> bool:
        """Tell whether the caller may ask for a profile, expert or model that has these names."""
        return all(any(map(policy.permits_model, names)) for policy in self.policies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What a request says of who sends it, before anybody has looked at it.

    ``origin`` is the site whose script or form sent it, "" where no browser said so. ``host`` is the name under which
    it means to have reached us.
    """

    method: str
    path: str
    authorization: str | None = None
    address: str = ""
    origin: str = ""
    host: str = ""


# --- the keys in memory -----------------------------------------------------------------------------------------


def load() -> Mapping[str, Caller]:
    """Return who asks, by the digests of the keys' texts; of a key in rotation both texts are there."""
    groups = {row.name: row for row in KeyGroup.objects.all()}
    known: dict[str, Caller] = {}
    for key in ApiKey.objects.usable():
        caller = caller_of(key, groups.get(key.group))
        known[key.digest] = caller
        if key.previous_digest and key.previous_until:
            ends = min(filter(None, (key.expires_at, key.previous_until)))
            known[key.previous_digest] = replace(caller, expires_at=ends, is_former=ends == key.previous_until)
    return known


def caller_of(key: ApiKey, group: KeyGroup | None) -> Caller:
    """Return who asks with ``key``; ``group`` is its group's row, if there is one."""
    return Caller(
        key_id=key.pk,
        name=key.name,
        group=key.group,
        prefix=key.prefix,
        expires_at=key.expires_at,
        weight=WEIGHTS[Priority(key.priority)],
        policies=(key.policy, group.policy) if group else (key.policy,),
        keeps_texts="key" if key.keeps_texts else "group" if group and group.keeps_texts else "",
    )


keys: LiveSnapshot[Mapping[str, Caller]] = LiveSnapshot(load, name="API keys")


def connect_signals() -> None:
    keys.watch((ApiKey, KeyGroup))


# --- who comes in -----------------------------------------------------------------------------------------------


def admit(visit: Visit, needs: Needs, known: Mapping[str, Caller]) -> Caller:
    """Return who asks, if they may come in here; raises AuthenticationFailed, PermissionDenied or NotFound."""
    caller = recognise(visit, known)
    check_scope(caller, needs, visit)
    return caller


def recognise(visit: Visit, known: Mapping[str, Caller]) -> Caller:
    """Return who asks; raises AuthenticationFailed and PermissionDenied, whatever it is they want."""
    caller = identify(visit.authorization, known)
    if caller.key_id is None:
        _check_stranger(visit)
    elif not all(policy.permits_address(visit.address) for policy in caller.policies):
        raise PermissionDenied(
            f"This API key may not be used from {visit.address or 'an unknown address'}. An administrator can permit "
            "the address on the key's page in admin, or on its group's; behind a proxy, TRUSTED_PROXIES must name it."
        )
    note_key(caller.prefix)
    return replace(caller, address=visit.address)


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
        raise AuthenticationFailed(
            "The API key was replaced by a new text, and this one works no longer. Use the new one: an administrator, "
            "or whoever replaced it, has it."
            if caller.is_former
            else "The API key has expired. Ask an administrator for a new one."
        )
    return caller


def check_scope(caller: Caller, needs: Needs, visit: Visit) -> None:
    """Raise PermissionDenied unless the caller may do things of this kind, NotFound where only administrators may."""
    wanted = {needs} if isinstance(needs, Scope) else needs
    if any(map(caller.may, wanted)):
        return
    if needs == Scope.ADMIN:
        raise NotFound(f"There is nothing at {visit.method} {visit.path}.")
    names = " or ".join(sorted(wanted - {Scope.ADMIN}))
    raise PermissionDenied(
        f"This API key may not do this: it lacks the scope '{names}'. An administrator can permit it on the key's page "
        "in admin, or on its group's."
    )


def _check_stranger(visit: Visit) -> None:
    """Refuse what a page of others has a browser send: where no key is needed, nothing else would keep it out.

    Such a page may also have its own name lead to our address, so that the browser takes us for its site.
    """
    host, origin = visit.host.lower(), visit.origin.lower()
    if host and not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        raise BadRequest(
            f"Requests to {host[:100]} are not answered without an API key. An administrator can add the name to "
            "ALLOWED_HOSTS."
        )
    permitted = {one.strip().rstrip("/").lower() for one in settings.CORS_ALLOWED_ORIGINS}
    is_ours = host and origin.partition("://")[2] == host
    if not origin or is_ours or not permitted.isdisjoint((origin, "*")):
        return
    raise PermissionDenied(
        f"Pages of {origin[:100]} may not send requests here without an API key. An administrator can permit it in "
        "CORS_ALLOWED_ORIGINS."
    )


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
