"""Several answers to one request (n), run side by side: no model server has this."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from routing.backends.protocol import ChatRequest, Delta, Finish, Usage
from routing.mixture.parts import Parts

Event = TypeVar("Event")
LARGEST_SEED = 2**63 - 1
RANDOM_SEED = -1


def single(request: ChatRequest, index: int) -> ChatRequest:
    """Return the request for choice ``index``: with one answer, and with a seed of its own if there is a seed."""
    seed = request.sampling.seed
    if seed is None or seed == RANDOM_SEED:
        return replace(request, n=1)
    shifted = seed + index if seed + index <= LARGEST_SEED else seed - index
    return replace(request, n=1, sampling=replace(request.sampling, seed=shifted))


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the usage of all choices: the prompt counted once, what was generated summed up."""
    counted = sorted((usage for usage in usages if usage), key=lambda usage: usage.prompt_tokens, reverse=True)
    if not counted:
        return None
    first, *others = counted
    return sum(map(generated, others), first)


def generated(usage: Usage) -> Usage:
    """Return what was generated of ``usage``, without the prompt."""
    details = {name: value for name, value in usage.details.items() if not name.startswith("prompt")}
    return replace(usage, prompt_tokens=0, details=details)


def summed(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the usage of all choices added up: what several experts took for each of them."""
    counted = [usage for usage in usages if usage]
    return sum(counted[1:], counted[0]) if counted else None


async def side_by_side(
    request: ChatRequest,
    run: Callable[[ChatRequest], AsyncGenerator[Event]],
    *,
    usage_of: Callable[[Iterable[Usage | None]], Usage | None] = total,
) -> AsyncGenerator[Event | Delta | Finish | Parts]:
    """Yield the events of ``request.n`` answers as they come, with their index; the last Finish has all the usage.

    ``usage_of`` tells what the answers took together. An answer that fails ends them all, and so does leaving early.
    """
    if request.n == 1:
        async with aclosing(run(request)) as alone:
            async for event in alone:
                yield event
        return
    usages: list[Usage | None] = []
    async with aclosing(merged([run(single(request, index)) for index in range(request.n)])) as merger:
        async for index, event in merger:
            if isinstance(event, Finish):
                usages.append(event.usage)
                usage = usage_of(usages) if len(usages) == request.n else None
                yield replace(event, index=index, usage=usage)
            elif isinstance(event, Delta | Parts):
                yield replace(event, index=index)
            else:
                yield event


@dataclass(frozen=True, slots=True)
class _End(Generic[Event]):
    error: BaseException | None = None


async def merged(sources: Sequence[AsyncGenerator[Event]]) -> AsyncGenerator[tuple[int, Event]]:
    """Yield what ``sources`` yield, with the number of the source, as it comes; the first error of one is raised.

    Each is run and closed in a task of its own.
    """
    queue: asyncio.Queue[tuple[int, Event] | _End[Event]] = asyncio.Queue(maxsize=len(sources))
    tasks = [asyncio.create_task(_drain(number, source, queue)) for number, source in enumerate(sources)]
    running = len(tasks)
    try:
        while running:
            item = await queue.get()
            if not isinstance(item, _End):
                yield item
                continue
            if item.error is not None:
                raise item.error
            running -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _drain(
    number: int, source: AsyncGenerator[Event], queue: "asyncio.Queue[tuple[int, Event] | _End[Event]]"
) -> None:
    try:
        async with aclosing(source):
            async for event in source:
                await queue.put((number, event))
    except Exception as error:
        await queue.put(_End(error))
    else:
        await queue.put(_End())
