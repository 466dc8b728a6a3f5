"""What the scripted server has on its shelf: models, and which of them are in memory."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .recorded import Recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedModel:
    """One model as `/api/tags`, `/api/show` and `/v1/models` describe it."""

    name: str
    family: str = "llama"
    parameter_size: str = "3B"
    quantization: str = "Q4_K_M"
    context_length: int = 8192  # what it was trained for; what is loaded is in /api/ps
    embedding_length: int = 384
    # None is an old server, which does not report capabilities (nor check them here).
    capabilities: tuple[str, ...] | None = ("completion",)
    size: int = 2_019_393_189
    parameters: str = ""  # Modelfile lines such as "num_ctx   4096"
    template: str = "{{ .Prompt }}"
    system: str = ""
    modified_at: str = "2026-08-01T09:30:15.123456789+02:00"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()

    @property
    def full_name(self) -> str:
        """The registry path that Ollama puts into capability errors (types/model/name.go)."""
        path = tagged(self.name)
        return f"registry.ollama.ai/{path if '/' in path else f'library/{path}'}"

    @property
    def details(self) -> dict[str, object]:
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization,
        }

    def can(self, capability: str) -> bool:
        """Tell whether the model has a capability; a model that reports none is trusted with all."""
        return self.capabilities is None or capability in self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """A model in memory, as `/api/ps` reports it."""

    context_length: int = 4096
    vram: float = 1.0  # the share of the model that is on the GPU
    expires_at: datetime | None = None  # None: keep_alive -1, for ever

    @classmethod
    def kept(cls, seconds: float, *, context_length: int) -> "Residency":
        """Keep a model for some seconds; infinity is for ever."""
        expires = None if seconds == float("inf") else datetime.now(UTC) + timedelta(seconds=seconds)
        return cls(context_length=context_length, expires_at=expires)


class Shelf:
    """The models a server has, and those it holds in memory."""

    def __init__(self, models: Iterable[ScriptedModel], *, num_ctx: int, version: str) -> None:
        self.models = list(models)
        self.loaded: dict[str, Residency] = {}
        self.registry: dict[str, ScriptedModel] = {}  # what can be pulled, by full name in lower case
        # The lines of each model's unfinished pulls, with the requests that tell how many of them were sent.
        self.pulls: dict[str, list[tuple[Recorded, list[dict[str, object]]]]] = {}
        self.num_ctx = num_ctx
        self.version = version
        self.load_delay = 0.0

    def find(self, name: str) -> ScriptedModel | None:
        """Find a model as Ollama does: in any case, and with `:latest` understood."""
        wanted = tagged(name).lower()
        return next((model for model in list(self.models) if tagged(model.name).lower() == wanted), None)

    def resident(self) -> list[tuple[ScriptedModel, Residency]]:
        """List what is in memory, longest-lived first."""
        now = datetime.now(UTC)
        held = [(self.find(name), residency) for name, residency in list(self.loaded.items())]
        alive = [
            (model, residency)
            for model, residency in held
            if model and (residency.expires_at is None or residency.expires_at > now)
        ]
        for_ever = datetime.max.replace(tzinfo=UTC)
        return sorted(alive, key=lambda pair: pair[1].expires_at or for_ever, reverse=True)


def tagged(name: str) -> str:
    """Add the default tag to a model name that has none."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
