"""What Ollama says of itself and its models (Ollama server/routes.go)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from . import gojson
from .exchange import Exchange, whole
from .gojson import dump, refuse
from .model import Residency, ScriptedModel, Shelf
from .recorded import Recorded
from .script import Handler, Script


def running(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    """Answer `GET /`, the cheap sign of life."""
    return whole(b"Ollama is running", content_type="text/plain; charset=utf-8")


def version(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    return whole(dump({"version": shelf.version}))


def tags(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    return whole(dump({"models": [_listed(model) for model in list(shelf.models)]}))


def ps(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    return whole(dump({"models": [_resident(model, residency) for model, residency in shelf.resident()]}))


def show(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = gojson.decode(recorded.body, "ShowRequest")
    name = request.get("model") or request.get("name")
    if not name:
        refuse("model is required")
    model = find(shelf, name)
    shown: dict[str, object] = {
        "modelfile": f"FROM {model.name}",
        "template": model.template,
        "details": model.details,
        "model_info": {
            "general.architecture": model.family,
            f"{model.family}.context_length": model.context_length,
            f"{model.family}.embedding_length": model.embedding_length,
        },
        "modified_at": model.modified_at,
    }
    shown |= {key: text for key, text in (("parameters", model.parameters), ("system", model.system)) if text}
    if model.capabilities is not None:
        shown["capabilities"] = model.capabilities
    return whole(dump(shown))


def find(shelf: Shelf, name: str) -> ScriptedModel:
    model = shelf.find(name)
    if model is None:
        refuse(f"model '{name}' not found", 404)
    return model


def _listed(model: ScriptedModel) -> dict[str, object]:
    """Describe a model as `/api/tags` does; old servers leave out what they cannot do."""
    listed: dict[str, object] = {
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified_at,
        "size": model.size,
        "digest": model.digest,
        "details": model.details,
    }
    if model.capabilities is not None:
        listed["capabilities"] = model.capabilities
        sizes = {"context_length": model.context_length, "embedding_length": model.embedding_length}
        listed["details"] = model.details | sizes
    return listed


def _resident(model: ScriptedModel, residency: Residency) -> dict[str, object]:
    # Go's longest duration, some 292 years, stands for ever.
    expires = residency.expires_at or datetime.now(UTC) + timedelta(days=106_751)
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": model.details,
        "expires_at": expires.isoformat(),
        "size_vram": int(model.size * residency.vram),
        "context_length": residency.context_length,
    }


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/": {"GET": running, "HEAD": running},
    "/api/version": {"GET": version, "HEAD": version},
    "/api/tags": {"GET": tags, "HEAD": tags},
    "/api/ps": {"GET": ps},
    "/api/show": {"POST": show},
}
