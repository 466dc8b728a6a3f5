"""Asks model servers what is installed, and writes it down."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from routing.backends.client import PROBE_SECONDS, Timeouts, UpstreamClient
from routing.backends.protocol import Json, ServerAddress, ServerKind
from routing.exceptions import EndpointError
from routing.models import InstalledModel, ModelServer

logger = logging.getLogger(__name__)

SHOWN_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model as its server describes it; None where the server does not say."""

    name: str
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    size_bytes: int | None = None
    digest: str = ""
    context_length: int | None = None
    capabilities: tuple[str, ...] | None = None


async def models_find(address: ServerAddress, client: UpstreamClient) -> list[FoundModel]:
    """Return what is installed on a server; raises EndpointError when it does not answer."""
    if address.kind is ServerKind.OPENAI:
        models = await client.request_json(address, "GET", "/v1/models")
        return openai_models(models, await _template_capabilities(address, client))
    answer = await client.request_json(address, "GET", "/api/tags")
    tags = (answer.get("models") or []) if isinstance(answer, dict) else []
    places = asyncio.Semaphore(SHOWN_AT_ONCE)

    async def describe(tag: Json) -> FoundModel:
        name = tag.get("name") or tag["model"]
        async with places:
            try:
                shown = await client.request_json(address, "POST", "/api/show", {"model": name})
            except EndpointError as error:
                logger.warning("model cannot be described server=%s model=%s error=%s", address.name, name, error)
                shown = {}
        return ollama_model(tag, shown)

    return list(await asyncio.gather(*(describe(tag) for tag in tags)))


async def _template_capabilities(address: ServerAddress, client: UpstreamClient) -> Json | None:
    """Return what llama.cpp tells of its chat template, or None where nothing of the kind is told."""
    try:
        props = await client.request_json(address, "GET", "/props")
    except EndpointError:
        return None
    told = props.get("chat_template_caps") if isinstance(props, dict) else None
    return told if isinstance(told, dict) else None


def ollama_model(tag: Json, shown: Json) -> FoundModel:
    """Return a model from its entry in /api/tags and the answer of /api/show (either may lack anything)."""
    told = {key: value for key, value in (shown.get("details") or {}).items() if value}
    details = (tag.get("details") or {}) | told
    capabilities = shown.get("capabilities") or tag.get("capabilities")
    return FoundModel(
        name=tag.get("name") or tag["model"],
        family=details.get("family") or "",
        parameter_size=details.get("parameter_size") or "",
        quantization=details.get("quantization_level") or "",
        size_bytes=tag.get("size"),
        digest=tag.get("digest") or "",
        context_length=_trained_context(shown.get("model_info") or {})
        or (tag.get("details") or {}).get("context_length"),
        capabilities=tuple(capabilities) if capabilities else None,
    )


def _trained_context(info: Json) -> int | None:
    exact = info.get(f"{info.get('general.architecture')}.context_length")
    return exact or next((value for key, value in info.items() if key.endswith(".context_length")), None)


def openai_models(answer: Any, template: Json | None = None) -> list[FoundModel]:
    """Return the models of GET /v1/models.

    ``meta`` and ``models`` are llama.cpp's additions, ``max_model_len`` is vLLM's; ``template`` is what llama.cpp's
    GET /props tells under chat_template_caps.
    """
    if not isinstance(answer, dict):
        return []
    described = {model.get("name"): model for model in answer.get("models") or ()}
    found = []
    for model in answer.get("data") or ():
        meta = model.get("meta") or {}
        told = described.get(model["id"], {}).get("capabilities")
        found.append(
            FoundModel(
                name=model["id"],
                size_bytes=meta.get("size"),
                parameter_size=f"{meta['n_params'] / 1e6:.0f}M" if meta.get("n_params") else "",
                quantization=meta.get("ftype") or "",
                context_length=meta.get("n_ctx") or model.get("max_model_len"),
                capabilities=_llama_cpp_capabilities(told, template) if told else None,
            )
        )
    return found


def _llama_cpp_capabilities(told: Iterable[str], template: Json | None) -> tuple[str, ...]:
    """Return llama.cpp's capabilities in Ollama's words.

    It tells images ("multimodal") but not tools, which its chat template takes or drops in silence; nor thinking. What
    is not told is left to try.
    """
    found = set(told)
    if "completion" in found:
        found.add("thinking")
        if template is None or template.get("supports_tools", True):
            found.add("tools")
    if "multimodal" in found:
        found = found - {"multimodal"} | {"vision"}
    return tuple(sorted(found))


@transaction.atomic
def models_record(server: ModelServer, found: Iterable[FoundModel]) -> None:
    """Make the server's installed models in the database those ``found``."""
    names = []
    for model in found:
        names.append(model.name)
        InstalledModel.objects.update_or_create(
            server=server,
            name=model.name,
            defaults={
                "family": model.family,
                "parameter_size": model.parameter_size,
                "quantization": model.quantization,
                "size_bytes": model.size_bytes,
                "digest": model.digest,
                "context_length": model.context_length,
                "capabilities": None if model.capabilities is None else list(model.capabilities),
                "seen_at": timezone.now(),
            },
        )
    server.installed_models.exclude(name__in=names).delete()


def servers_refresh(servers: Iterable[ModelServer]) -> dict[ModelServer, int | EndpointError]:
    """Ask ``servers`` side by side what is installed and write it down; not for coroutines.

    The value is the number of models, or what went wrong: a server that does not answer keeps its models.
    """
    servers = list(servers)
    answers = asyncio.run(_find_all([server.address() for server in servers]))
    outcome: dict[ModelServer, int | EndpointError] = {}
    for server, answer in zip(servers, answers, strict=True):
        if isinstance(answer, EndpointError):
            outcome[server] = answer
        else:
            models_record(server, answer)
            outcome[server] = len(answer)
    return outcome


async def _find_all(addresses: Sequence[ServerAddress]) -> list[list[FoundModel] | EndpointError]:
    client = UpstreamClient(Timeouts(connect=PROBE_SECONDS, first_byte=10))

    async def find(address: ServerAddress) -> list[FoundModel] | EndpointError:
        try:
            return await models_find(address, client)
        except EndpointError as error:
            return error

    try:
        return await asyncio.gather(*(find(address) for address in addresses))
    finally:
        await client.aclose()
