"""Who is asking: API keys, checked against an in-memory copy."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from gateway.errors import AuthenticationFailed
from gateway.models import WEIGHTS, ApiKey, Priority, key_digest
from routing.features import Asker
from routing.live import LiveSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whose request it is; ``key_id`` is None for an anonymous one."""

    key_id: int | None = None
    name: str = "anonymous"
    group: str = ""
    prefix: str = ""
    expires_at: datetime | None = None
    weight: float = 1.0

    @property
    def tenant(self) -> str:
        """Whose turn it is in a queue: each key is served fairly beside the others."""
        return self.prefix or "anonymous"

    # What REST framework's permissions ask of a user.
    @property
    def is_authenticated(self) -> bool:
        return True


def load() -> Mapping[str, Caller]:
    return {
        key.digest: Caller(
            key_id=key.pk,
            name=key.name,
            group=key.group,
            prefix=key.prefix,
            expires_at=key.expires_at,
            weight=WEIGHTS[Priority(key.priority)],
        )
        for key in ApiKey.objects.usable()
    }


keys: LiveSnapshot[Mapping[str, Caller]] = LiveSnapshot(load, name="API keys")


def connect_signals() -> None:
    keys.watch((ApiKey,))


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
