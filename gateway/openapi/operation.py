"""What one method of one path takes and gives, as OpenAPI 3.1 describes it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.openapi.shapes import TEXT, Schema, ref
from gateway.policy import Scope

JSON, EVENTS, LINES, FORM = "application/json", "text/event-stream", "application/x-ndjson", "multipart/form-data"
MOE_HEADERS: Mapping[str, str] = {
    "X-MoE-Expert": "Who answered.",
    "X-MoE-Replica": "On which model of which server.",
    "X-MoE-Route": "The stage that decided.",
    "X-MoE-Decision": "The decision's id, for POST /v1/feedback.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``takes`` and ``gives`` are bodies by media type; ``gives`` is of the statuses in ``statuses``.

    ``needs`` is the scope a key must have, None where any key or none will do (``is_open``). ``query`` are the
    parameters of the address with their schemas, ``required`` those of them that must be there. ``errors`` is the
    component that errors have.
    """

    summary: str
    tag: str
    needs: Scope | None = None
    is_open: bool = False
    takes: Mapping[str, Schema] = field(default_factory=dict)
    needs_body: bool = True
    gives: Mapping[str, Schema] = field(default_factory=dict)
    statuses: tuple[int, ...] = (200,)
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    answers: bool = False  # somebody did, and headers say who
    errors: str = "Error"

    def described(self, name: str, path_parameters: Mapping[str, Schema]) -> dict[str, Any]:
        """Return the operation object; ``name`` is its id."""
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": schema} for name, schema in path_parameters.items()
        ]
        parameters += [
            {"name": name, "in": "query", "required": name in self.required, "schema": schema}
            for name, schema in self.query.items()
        ]
        body = {"content": {kind: {"schema": schema} for kind, schema in self.takes.items()}}
        return {
            "operationId": name,
            "summary": self.summary,
            "tags": [self.tag],
            **({"description": f"Needs the scope `{self.needs}`."} if self.needs else {}),
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": body | {"required": self.needs_body}} if self.takes else {}),
            "responses": self._responses(),
            "security": [{}] if self.is_open else [{"key": []}],
        }

    def _responses(self) -> dict[str, Any]:
        content = {kind: {"schema": schema} for kind, schema in self.gives.items()}
        told = {name: {"description": words, "schema": TEXT} for name, words in MOE_HEADERS.items()}
        done: dict[str, Any] = {
            "description": "Done.",
            **({"content": content} if content else {}),
            **({"headers": told} if self.answers else {}),
        }
        error = {JSON: {"schema": ref(self.errors)}}
        return {
            **{str(status): done for status in self.statuses},
            "4XX": {"description": "Refused; the error says why and what to do.", "content": error},
            "5XX": {"description": "Failed; the error says whether to try again.", "content": error},
        }


def json(name: str) -> Mapping[str, Schema]:
    """Return a body of JSON that is the component ``name``."""
    return {JSON: ref(name)}
