"""What Ollama's clients are told of models: profiles, experts and the in-process embedder beside installed ones. Pure.

Source: ollama/ollama, api/types.go (ListModelResponse, ShowResponse, ProcessModelResponse).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing.backends.protocol import Json
from routing.catalog import Catalog, Expert
from routing.named import IN_PROCESS

# Experts have no time of change that would mean anything to a client.
UNCHANGED = "2025-01-01T00:00:00Z"
# Clients (Continue among them) look for .Suffix in the template to see whether a model fills in the middle.
TEMPLATE = "{{ .Prompt }}"
INSERT_TEMPLATE = "{{ if .Suffix }}{{ .Prompt }}{{ .Suffix }}{{ else }}{{ .Prompt }}{{ end }}"
PS_FIELDS = ("name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is recorded of an installed model."""

    family: str = ""
    parameter_size: str = ""
    quantization: str = ""
    size: int = 0
    digest: str = ""
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A name that clients can ask for, and what stands behind it."""

    name: str
    facts: Facts | None = None
    capabilities: tuple[str, ...] = ()
    window: int | None = None
    description: str = ""

    @property
    def family(self) -> str:
        return (self.facts.family if self.facts else "moe") or "unknown"


def entries(catalog: Catalog, facts: Mapping[str, Facts]) -> Iterator[Entry]:
    """Yield every name, virtual ones first; ``facts`` by tag."""
    experts = [expert for expert in catalog.experts.values() if expert.replicas]
    everything = [*experts, *catalog.models.values()]
    for profile in catalog.profiles.values():
        if behind := [one for one in experts if one.slug in profile.experts] if profile.experts else everything:
            yield _entry(profile.slug, behind, description=profile.description)
    for expert in experts:
        if expert.slug not in catalog.profiles:
            yield _entry(expert.slug, [expert], description=expert.description)
    for tag, model in sorted((dict(catalog.embedders) | dict(catalog.models)).items()):
        if tag in catalog.profiles or tag in catalog.experts:
            continue  # who answers to the name is listed already
        yield _entry(tag, [model], facts=facts.get(tag, Facts()))
    yield _entry(IN_PROCESS.slug, [IN_PROCESS], description=IN_PROCESS.description)


def _entry(name: str, experts: Iterable[Expert], *, facts: Facts | None = None, description: str = "") -> Entry:
    replicas = [replica for expert in experts for replica in expert.replicas]
    told = [replica.capabilities for replica in replicas if replica.capabilities is not None]
    windows = [replica.num_ctx or replica.context_length for replica in replicas]
    return Entry(
        name=name,
        facts=facts,
        capabilities=tuple(sorted(frozenset().union(*told))) if told else ("completion",),
        window=max((window for window in windows if window), default=None),
        description=description,
    )


def listed(entry: Entry) -> Json:
    """Return an entry of GET /api/tags."""
    return {
        "name": entry.name,
        "model": entry.name,
        "modified_at": _changed(entry),
        "size": entry.facts.size if entry.facts else 0,
        "digest": _digest(entry),
        "details": _details(entry) | ({"context_length": entry.window} if entry.window else {}),
        "capabilities": list(entry.capabilities),
    }


def shown(entry: Entry) -> Json:
    """Return the answer of POST /api/show. A server's own Modelfile stays there: it tells of the machine's folders."""
    info: dict[str, Any] = {"general.architecture": entry.family, "general.basename": entry.name}
    if entry.window:
        info[f"{entry.family}.context_length"] = entry.window
    return {
        "modelfile": f"# {entry.description or entry.name}\nFROM {entry.name}\n",
        "parameters": "",
        "template": INSERT_TEMPLATE if "insert" in entry.capabilities else TEMPLATE,
        "details": _details(entry),
        "model_info": info,
        "capabilities": list(entry.capabilities),
        "modified_at": _changed(entry),
    }


def resident(answers: Iterable[Any], names: Iterable[str]) -> list[Json]:
    """Return the models that servers hold in memory, each once, from their answers to GET /api/ps."""
    known = frozenset(names)
    found: dict[str, Json] = {}
    for answer in answers:
        for model in (answer.get("models") if isinstance(answer, dict) else None) or ():
            if isinstance(model, dict) and model.get("name") in known:
                found.setdefault(model["name"], {name: model[name] for name in PS_FIELDS if name in model})
    return list(found.values())


def _details(entry: Entry) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": entry.family,
        "families": [entry.family],
        "parameter_size": entry.facts.parameter_size if entry.facts else "",
        "quantization_level": entry.facts.quantization if entry.facts else "",
    }


def _changed(entry: Entry) -> str:
    return entry.facts.seen_at.isoformat() if entry.facts and entry.facts.seen_at else UNCHANGED


def _digest(entry: Entry) -> str:
    # Ollama's own command line cuts the first twelve characters out of it.
    return (entry.facts.digest if entry.facts else "") or hashlib.sha256(entry.name.encode()).hexdigest()
