"""Conversations: what stays the same from turn to turn, so that they are recognised, and who has them."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable

from routing.backends.protocol import ChatRequest, Message

CONVERSATIONS_KEPT = 20_000


def conversation_key(request: ChatRequest, tenant: str) -> str:
    """Return what every turn of a conversation shares: its beginning, and whose it is."""
    first = next((place for place, message in enumerate(request.messages) if message.role == "user"), -1)
    return _digest(request.messages[: first + 1] if first >= 0 else request.messages, tenant)


def turn_keys(request: ChatRequest, tenant: str) -> tuple[str, str]:
    """Return the keys of the turn before this one ("" at the first) and of this one.

    A turn is known by everything up to and including its user message: two conversations that begin alike part ways
    with the first word that differs.
    """
    messages = request.messages[request.preface :]
    places = [place for place, message in enumerate(messages) if message.role == "user"]
    if not places:
        return "", _digest(messages, tenant)
    before = _digest(messages[: places[-2] + 1], tenant) if len(places) > 1 else ""
    return before, _digest(messages[: places[-1] + 1], tenant)


def _digest(messages: Iterable[Message], tenant: str) -> str:
    digest = hashlib.blake2b(tenant.encode(), digest_size=16)
    for message in messages:
        digest.update(message.role.encode() + b"\0" + message.text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


class Held:
    """Which expert took each turn of a conversation, in this process, and whether that is to last."""

    def __init__(self) -> None:
        self._experts: OrderedDict[str, tuple[str, bool]] = OrderedDict()

    def get(self, turn: str) -> tuple[str, bool] | None:
        return self._experts.get(turn)

    def set(self, turn: str, expert: str, *, lasts: bool) -> None:
        self._experts[turn] = expert, lasts
        self._experts.move_to_end(turn)
        while len(self._experts) > CONVERSATIONS_KEPT:
            self._experts.popitem(last=False)
