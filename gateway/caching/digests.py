"""What makes two requests the same, as digests. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from routing.backends.protocol import ChatRequest, Message, Text
from routing.catalog import Expert, Replica
from routing.decision import Decision

SCHEME = 1
"""Part of every digest; changes with what is taken into them."""
LONGEST_QUESTION = 1_000
"""Characters of a question that similar ones are looked for; what is longer is compared by its digest alone."""

# What has no part in what a model answers: how the answer travels, who is told what of it, and for how long a model
# stays loaded. Tools and images are never cached, and grounding stands in the messages.
_LEFT_OUT = frozenset({
    "model", "messages", "stream", "include_usage", "tools", "tool_choice", "parallel_tool_calls", "keep_alive",
    "metadata", "explain", "grounding", "preface", "ignored",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it reaches the model. ``context`` is the digest of all but ``question``, the last message.

    Both are "" where nothing similar may be looked for.
    """

    digest: str
    context: str = ""
    question: str = ""


def asked_of(
    request: ChatRequest,
    decision: Decision,
    *,
    key_id: int | None,
    profile: str,
    is_grounded: bool = False,
    code: str = "",
) -> Asked:
    """Return what makes ``request``, with rules and passages in it, the same as another of the same key.

    ``code`` is what passages are fenced with, another one each time.
    """
    whose = [SCHEME, key_id, profile, _expert(decision), _parameters(request)]
    digest = _digest([*whose, *(_message(message, code) for message in request.messages)])
    question = _question(request)
    if is_grounded or not question:
        return Asked(digest=digest)
    *earlier, last = request.messages
    asking = _message(replace(last, parts=()))
    return Asked(
        digest=digest, context=_digest(["similar", *whose, *map(_message, earlier), asking]), question=question
    )


def question_of(request: ChatRequest) -> str:
    """Return the last message of the user, to show to people."""
    users = (message.text for message in reversed(request.messages) if message.role == "user")
    return next(users, "")


def _question(request: ChatRequest) -> str:
    """Return the last message, where it is the user's, only text, and short enough to be compared as a whole."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user" or not all(isinstance(part, Text) for part in last.parts):
        return ""
    text = last.text.strip()
    return text if len(text) <= LONGEST_QUESTION else ""


def _expert(decision: Decision) -> list[Any]:
    """Return who answers: prompt and defaults as they are applied, and the models that may be asked."""
    expert: Expert = decision.expert
    replicas = sorted(map(_replica, expert.replicas_that(decision.needs)), key=repr)
    return [expert.slug, expert.system_prompt, _numbers(dict(expert.defaults)), replicas]


def _replica(replica: Replica) -> list[Any]:
    server = replica.server
    # The embedded server's port is another one at each start.
    where = "" if replica.embedded else server.base_url
    window = replica.num_ctx or replica.context_length
    return [server.name, str(server.kind), where, replica.model, replica.revision, window]


def _parameters(request: ChatRequest) -> dict[str, Any]:
    given = {one.name: getattr(request, one.name) for one in fields(request) if one.name not in _LEFT_OUT}
    given["sampling"] = {one.name: getattr(request.sampling, one.name) for one in fields(request.sampling)}
    if wanted := request.response_format:
        given["response_format"] = [wanted.kind, wanted.schema, wanted.strict]
    found: dict[str, Any] = _numbers(given)
    return found


def _message(message: Message, code: str = "") -> list[Any]:
    texts = [part.text.replace(code, "#") if code else part.text for part in message.parts if isinstance(part, Text)]
    return [message.role, texts, message.content_is_null, message.reasoning, message.name, dict(message.extra)]


def _numbers(value: Any) -> Any:
    """Return ``value`` with whole numbers written in one way: 0 and 0.0 ask for the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return value


def _digest(value: Any) -> str:
    # In ASCII, as texts of clients may hold halves of surrogate pairs.
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
