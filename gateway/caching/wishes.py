"""Whether a request may be answered from the cache, and how. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from routing.backends.protocol import ChatRequest
from routing.decision import Decision

OFF, EXACT, SEMANTIC = "off", "exact", "semantic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How one request may be answered from the cache.

    ``bypass`` says why it may not be at all. ``fresh``: the client wants a new answer, which may be kept;
    ``threshold`` is the least cosine of a similar question, None where only the same request counts.
    """

    profile: str = ""
    bypass: str = ""
    fresh: bool = False
    threshold: float | None = None


def wish_of(request: ChatRequest, decision: Decision, headers: Mapping[str, str], *, usual: str) -> Wish | None:
    """Return what may be done for ``request`` as its client sent it, or None: caching is off for it.

    ``headers`` have names in lower case; ``usual`` is what holds where the profile says nothing.
    """
    profile = decision.profile
    mode = (profile.cache if profile else "") or usual
    if mode == OFF:
        return None
    told = _directives(headers.get("cache-control", ""))
    return Wish(
        profile=profile.slug if profile else "",
        bypass="no-store" if "no-store" in told else _reason_against(request, decision),
        fresh=bool(told & {"no-cache", "max-age=0"}),
        threshold=profile.cache_threshold if profile and mode == SEMANTIC else None,
    )


def _directives(value: str) -> frozenset[str]:
    return frozenset(part.strip().lower() for part in value.split(","))


def _reason_against(request: ChatRequest, decision: Decision) -> str:
    if request.tools or any(message.tool_calls or message.role == "tool" for message in request.messages):
        return "tools"
    if request.has_images:
        return "images"
    if request.sampling.temperature != 0:
        return "temperature"
    if decision.plan:
        return "several experts"
    return ""
