"""How Ollama gets models and loses them (PullHandler and DeleteHandler of Ollama server/routes.go)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from . import gojson
from .exchange import NDJSON, Exchange, raw, whole
from .gojson import dump, refuse
from .listing import find
from .model import ScriptedModel, Shelf, tagged
from .recorded import Recorded
from .reply import Reply
from .script import Handler, Script

STEPS = 4  # in how many pieces a layer arrives
Line = dict[str, object]


def pull(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    """Stream the layers of a model of the registry side by side, going on where an earlier pull was broken off."""
    request = gojson.decode(recorded.body, "PullRequest")
    name = request.get("model") or request.get("name") or ""
    if not name:
        refuse("invalid model name")
    reply = script.take(recorded.path, name) or Reply()
    if reply.is_raw:
        return raw(reply, dump({"error": reply.error}))
    model = shelf.registry.get(tagged(name).lower())
    if model is None:
        return _lines([{"status": "pulling manifest"}], {"error": "pull model manifest: file does not exist"}, reply)
    before = [line for sent, there in shelf.pulls.get(model.name, []) for line in there[: sent.pieces_sent]]
    lines = _progress(model, before)
    shelf.pulls.setdefault(model.name, []).append((recorded, lines))
    if request.get("stream") is False:
        return whole(dump({"status": "success"}), reply=reply, on_finished=lambda: _install(shelf, model))
    finished = None if reply.faulty else lambda: _install(shelf, model)
    return _lines(lines, {"status": "success"}, reply, on_finished=finished)


def _lines(
    lines: Sequence[Line], last: Line, reply: Reply, *, on_finished: Callable[[], None] | None = None
) -> Exchange:
    return Exchange(
        pieces=tuple(dump(line) + b"\n" for line in lines),
        reply=reply,
        content_type=NDJSON,
        error=dump({"error": reply.error}) + b"\n",
        ending=dump(last) + b"\n",
        streamed=True,
        on_finished=on_finished,
    )


def layers(model: ScriptedModel) -> Mapping[str, int]:
    """Return the sizes of a model's two layers by digest; they add up to its size."""
    small = model.size // 10
    sizes = (("weights", model.size - small), ("projector", small))
    return {f"sha256:{hashlib.sha256(f'{model.name} {part}'.encode()).hexdigest()}": size for part, size in sizes}


def _progress(model: ScriptedModel, before: Sequence[Line]) -> list[Line]:
    """List the lines of a pull; ``before`` are those that earlier pulls of it sent."""
    lines: list[Line] = [{"status": "pulling manifest"}]
    for step in range(STEPS + 1):
        for digest, total in layers(model).items():
            there = max((_completed(line) for line in before if line.get("digest") == digest), default=0)
            line: Line = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
            # Zero is absent (omitempty).
            if completed := max(there, total * step // STEPS):
                line["completed"] = completed
            lines.append(line)
    return [
        *lines,
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "removing unused layers"},
    ]


def _completed(line: Line) -> int:
    completed = line.get("completed", 0)
    return completed if isinstance(completed, int) else 0


def _install(shelf: Shelf, model: ScriptedModel) -> None:
    shelf.pulls.pop(model.name, None)
    if shelf.find(model.name) is None:
        shelf.models.append(model)


def delete(shelf: Shelf, script: Script, recorded: Recorded) -> Exchange:
    request = gojson.decode(recorded.body, "DeleteRequest")
    model = find(shelf, request.get("model") or request.get("name") or "")
    shelf.models.remove(model)
    shelf.loaded.pop(model.name, None)
    return whole(b"")


ROUTES: Mapping[str, Mapping[str, Handler]] = {"/api/pull": {"POST": pull}, "/api/delete": {"DELETE": delete}}
