"""Database steps of coroutines, each in a thread of its own: jobs run side by side, never behind one shared thread."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_thread(function: Callable[Given, Result]) -> Callable[Given, Coroutine[Any, Any, Result]]:
    """Return ``function`` as a coroutine function; the thread gives its connection back afterwards."""
    return cast(Callable[Given, Coroutine[Any, Any, Result]], database_sync_to_async(function, thread_sensitive=False))
