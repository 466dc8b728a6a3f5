"""The request that is being answered, as everything that runs for it sees it: coroutines, tasks and threads alike."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class CurrentRequest:
    """``id`` ties its log lines to its response; ``key`` is the beginning of its API key, once that is known.

    ``door`` names what answers it and ``route`` is the pattern of such paths, both "" until somebody does; ``told`` is
    whether the log has its line already, and ``broken_off`` whether the server stops before the answer is complete.
    """

    id: str
    method: str = ""
    path: str = ""
    key: str = ""
    door: str = ""
    route: str = ""
    told: bool = False
    broken_off: bool = False


_current: ContextVar[CurrentRequest | None] = ContextVar("current request", default=None)


def current() -> CurrentRequest | None:
    """Return the request this runs for, or None: it runs for nobody in particular."""
    return _current.get()


@contextmanager
def answering(request: CurrentRequest) -> Iterator[CurrentRequest]:
    """Make ``request`` the current one; where there is one already, that stays, as it is the same seen further out."""
    known = _current.get()
    if known is not None:
        yield known
        return
    token = _current.set(request)
    try:
        yield request
    finally:
        _current.reset(token)


def note_key(prefix: str) -> None:
    """Note the beginning of the key that the current request came with."""
    if request := _current.get():
        request.key = prefix


def note_door(name: str, route: str) -> None:
    """Note what answers the current request, and the pattern of the paths that it answers."""
    if request := _current.get():
        request.door, request.route = name, route


def note_broken_off() -> None:
    """Note that the current request's answer will not be completed, as the server stops."""
    if request := _current.get():
        request.broken_off = True


def is_broken_off() -> bool:
    """Tell whether the current request ends because the server stops, and not because its client left."""
    return (request := _current.get()) is not None and request.broken_off
