"""What an empty installation is filled with, so that it answers its first request: all of it rows to edit."""

import asyncio
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model

from gateway.models import ApiKey, key_digest
from moe_site.embedded import llama
from routing.backends.client import Timeouts, UpstreamClient, server_answers
from routing.backends.protocol import ServerAddress, ServerKind
from routing.discovery import servers_refresh
from routing.exceptions import EndpointError
from routing.models import ModelServer, normalise_base_url
from routing.shelf import replicas_propose, shelf_seed
from routing.starter import starter_seed

USUAL_OLLAMA = "http://127.0.0.1:11434"
ADMIN_NAME = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What is shown once, in the banner of the first start; None for what existed already."""

    admin_password: str | None = None
    api_key: str | None = None


@dataclass(slots=True, kw_only=True)
class Servers:
    """Model servers as the start found them: the number of models on each that answered, the others' reasons."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def secrets_create() -> Secrets:
    """Create the first administrator and the first API key, where there is none."""
    password = key = None
    users = get_user_model().objects
    if not users.filter(is_superuser=True).exists():
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=ADMIN_NAME, password=password)
    if not ApiKey.objects.exists():
        _, key = ApiKey.objects.issue(name="first key", note="Made at the first start.")
    return Secrets(admin_password=password, api_key=key)


def secrets_forget(found: Secrets) -> None:
    """Take back what ``secrets_create`` made, so that the next start makes and shows it again."""
    if found.admin_password:
        get_user_model().objects.filter(username=ADMIN_NAME).delete()
    if found.api_key:
        ApiKey.objects.filter(digest=key_digest(found.api_key)).delete()


def configured_servers_answer() -> bool:
    """Register the model servers of the settings, and tell whether any of the administrator's own answers."""
    for url in settings.OLLAMA_BASE_URL:
        _register(normalise_base_url(url), settings.OLLAMA_API_KEY)
    own = ModelServer.objects.filter(embedded=False)
    if not own.exists():
        # Whoever runs Ollama on this machine should not need to say so.
        usual = ServerAddress(name="ollama", kind=ServerKind.OLLAMA, base_url=USUAL_OLLAMA)
        if not any(asyncio.run(_answering([usual]))):
            return False
        _register(USUAL_OLLAMA, "")
    return any(asyncio.run(_answering([server.address() for server in own.filter(enabled=True)])))


def _register(url: str, api_key: str) -> None:
    if ModelServer.objects.filter(base_url=url).exists():
        return
    parts = urlsplit(url)
    name = parts.hostname if parts.port in (None, 11434) else f"{parts.hostname}:{parts.port}"
    taken = set(ModelServer.objects.values_list("name", flat=True))
    names = [name or url, url]
    ModelServer.objects.create(
        name=next(candidate for candidate in names if candidate not in taken), base_url=url, api_key=api_key
    )


async def _answering(addresses: list[ServerAddress]) -> list[bool]:
    client = UpstreamClient(Timeouts(connect=2))
    try:
        return await asyncio.gather(*(server_answers(address, client) for address in addresses))
    finally:
        await client.aclose()


def embedded_server_record(model: llama.EmbeddedModel | None) -> None:
    """Make the embedded model server's row say where it runs, or that it does not."""
    if model is None:
        ModelServer.objects.filter(embedded=True, enabled=True).update(enabled=False)
        return
    ModelServer.objects.update_or_create(
        embedded=True,
        defaults={
            "name": llama.NAME,
            "kind": ModelServer.Kind.OPENAI,
            "base_url": model.base_url,
            "enabled": True,
            "note": "Started and supervised by this installation (EMBEDDED_MODELS).",
        },
    )


def shelf_fill() -> Servers:
    """Seed the shelf, ask every server what is installed, and propose experts from servers seen for the first time."""
    shelf_seed()
    starter_seed()
    result = Servers()
    for server, outcome in servers_refresh(ModelServer.objects.filter(enabled=True)).items():
        if isinstance(outcome, EndpointError):
            result.failed[server.name] = outcome.message
        else:
            result.answered[server.name] = outcome
            replicas_propose(server)
    return result
