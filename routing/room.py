"""How much of a model's window is left for what is put into a prompt beside the conversation."""

import asyncio
from dataclasses import dataclass

from routing.backends.protocol import ChatRequest, ServerKind
from routing.catalog import Expert, Replica
from routing.pool import Pool
from routing.tokens import estimate, estimate_text

UNKNOWN_WINDOW = 4096
"""Tokens that a window is taken to hold where nobody tells: what Ollama gives a model without being asked."""
IMAGE_TOKENS = 800
ANSWER_SHARE = 4  # of the window, a fourth is left for the answer where the client does not say how long it may be
MOST_ANSWER_TOKENS = 2_048
DOUBT = 1.1  # estimates of tokens may be this much too low


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """``tokens`` that are left in a window of ``window`` tokens; ``ratio`` is what the model counts for an estimate."""

    tokens: int
    window: int
    ratio: float = 1.0

    def count(self, text: str) -> float:
        """Return how many tokens the model counts for ``text``, rather too many than too few."""
        return estimate_text(text) * self.ratio


async def room_for(request: ChatRequest, expert: Expert, needs: frozenset[str], pool: Pool) -> Room:
    """Return what is left in the window of ``expert``: in the smallest of those replicas that have any left."""
    replicas = expert.replicas_that(needs)
    await asyncio.gather(*(pool.residency.refresh(server) for server in {replica.server for replica in replicas}))
    return smallest([_room(request, expert, replica, pool) for replica in replicas])


def smallest(rooms: list[Room]) -> Room:
    """Return the smallest of those that have anything left."""
    return min([room for room in rooms if room.tokens] or rooms, key=_tokens, default=Room(tokens=0, window=0))


def _tokens(room: Room) -> int:
    return room.tokens


def _room(request: ChatRequest, expert: Expert, replica: Replica, pool: Pool) -> Room:
    window = _window(request, replica, pool)
    calibration = pool.tokens.of(replica.model)
    has_system = any(message.role in ("system", "developer") for message in request.messages)
    prompt = estimate(request.messages, request.tools) + (0 if has_system else estimate_text(expert.system_prompt))
    images = sum(len(message.images) for message in request.messages)
    left = window - calibration.ratio * DOUBT * prompt - IMAGE_TOKENS * images - _answer_tokens(request, expert, window)
    return Room(tokens=max(0, int(left)), window=window, ratio=calibration.ratio * DOUBT)


def _window(request: ChatRequest, replica: Replica, pool: Pool) -> int:
    """Return how many tokens the replica's window has when it answers ``request``, as far as anybody told."""
    known = pool.residency.window(replica)
    if replica.num_ctx or replica.server.kind is not ServerKind.OLLAMA:
        return known or UNKNOWN_WINDOW
    # Ollama loads a model with the window it is asked for, and with one of its own otherwise.
    window = request.num_ctx or known or UNKNOWN_WINDOW
    return min(window, replica.context_length or window)


def _answer_tokens(request: ChatRequest, expert: Expert, window: int) -> int:
    """Return how much of the window is left for the answer; half of it at most, however much was asked for."""
    given = request.sampling.max_tokens or request.options.get("num_predict") or expert.defaults.get("max_tokens")
    usual = min(window // ANSWER_SHARE, MOST_ANSWER_TOKENS)
    return min(int(given), window // 2) if given and given > 0 else usual
