"""What ingestion works with, one set for all jobs of an event loop; tests bring their own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

from django.conf import settings

from knowledge.blocks import Parsed
from knowledge.embedding import Embedder, ModelSpec, embedder_of
from knowledge.feeding import Gate
from knowledge.parsing import shared_parsers
from knowledge.web import Web
from routing.backends.fetch import Allowed


class Parse(Protocol):
    """Blocks the thread; raises ParseFailed."""

    def __call__(self, data: bytes, *, name: str, mime: str) -> Parsed: ...


def _parse(data: bytes, *, name: str, mime: str) -> Parsed:
    return shared_parsers().parse(data, name=name, mime=mime)


def _web() -> Web:
    return Web(Allowed.parse(settings.FETCH_ALLOWED_HOSTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """``web`` remembers sites and their pace, ``gate`` lets few batches of texts in at a time: share one set."""

    parse: Parse = _parse
    embedder: Callable[[ModelSpec], Embedder] = embedder_of
    web: Web = field(default_factory=_web)
    gate: Gate = field(default_factory=Gate)


_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Equipment] = WeakKeyDictionary()


def shared_equipment() -> Equipment:
    """Return the set that all jobs of this event loop share."""
    loop = asyncio.get_running_loop()
    if loop not in _shared:
        _shared[loop] = Equipment()
    return _shared[loop]


def equip(equipment: Equipment) -> None:
    """Have all jobs of this event loop share ``equipment``."""
    _shared[asyncio.get_running_loop()] = equipment
