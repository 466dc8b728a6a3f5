"""How long variants of the same work take: measured in turn, so that all see the same machine."""

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

MOST_CALLS = 20_000
"""Of one block: what requests leave behind waits in memory until it ends."""
LEAST_CALLS = 1
OFTENER = 3
"""A whole is measured in so many times the rounds: what is looked for is the difference between two large figures."""
WARM_UP = 0.1
"""Of a block's calls: so many come before those that count, as each block finds the machine as another left it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of doing a part's work.

    ``work`` is what one request has done, a function or a coroutine function, ``together`` of them at once and each
    of them ``times`` as much as is told. It runs ``within`` what is switched on; ``after`` clears up behind a block.
    ``beside`` names the variant it is compared with, "" the part's first. ``columns`` are the sums it is a part of.
    """

    name: str
    work: Callable[[], Any]
    within: Callable[[], AbstractContextManager[object]] = nullcontext
    after: Callable[[], object] = lambda: None
    together: int = 1
    times: int = 1
    beside: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Variants that are measured in turn; ``note`` says what one call of them is.

    ``is_whole`` is whether it is what the others are parts of: then the time of each call is kept.
    """

    name: str
    note: str
    variants: Sequence[Variant]
    is_whole: bool = False


@dataclass(slots=True, kw_only=True)
class Measured:
    """Microseconds of a request, one figure a round: by the clock and of this process's processors.

    ``each`` are the microseconds of each request of a whole.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)


async def measured(part: Part, *, seconds: float, rounds: int) -> dict[str, Measured]:
    """Return what was measured of a part's variants, by their names; ``seconds`` is how long a block takes, about."""
    rounds *= OFTENER if part.is_whole else 1
    found = {variant.name: Measured() for variant in part.variants}
    calls = {variant.name: await _calls_of(variant, seconds) for variant in part.variants}
    for number in range(rounds):
        # There and back again: who comes after whom is not the same in every round.
        for variant in part.variants if number % 2 == 0 else reversed(part.variants):
            await _block(variant, calls[variant.name], found[variant.name], each=part.is_whole)
    return found


async def _calls_of(variant: Variant, seconds: float) -> int:
    """Return how many calls take about so long; also has everything loaded and every cache filled."""
    calls = LEAST_CALLS
    with variant.within():
        while True:
            began = time.perf_counter()
            await _run(variant, calls)
            took = time.perf_counter() - began
            variant.after()
            if took >= seconds / 4 or calls >= MOST_CALLS:
                return max(LEAST_CALLS, min(MOST_CALLS, int(calls * seconds / took)))
            calls *= 4


async def _block(variant: Variant, calls: int, found: Measured, *, each: bool) -> None:
    times: list[int] | None = [] if each else None
    with variant.within():
        await _run(variant, max(1, int(calls * WARM_UP)))
        variant.after()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        done = await _run(variant, calls, times)
        wall, cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        variant.after()
    found.wall.append(wall / done / variant.times / 1000)
    found.cpu.append(cpu / done / variant.times / 1000)
    found.each += [one / 1000 for one in times or ()]


async def _run(variant: Variant, calls: int, times: list[int] | None = None) -> int:
    """Call a variant's work about so often, and return how often it was."""
    if variant.together > 1:
        return await _run_together(variant, calls)
    work = variant.work
    if not inspect.iscoroutinefunction(work):
        for _ in range(calls):
            work()
    elif times is None:
        for _ in range(calls):
            await work()
    else:
        for _ in range(calls):
            began = time.perf_counter_ns()
            await work()
            times.append(time.perf_counter_ns() - began)
    return calls


async def _run_together(variant: Variant, calls: int) -> int:
    waves = max(1, calls // variant.together)
    for _ in range(waves):
        await asyncio.gather(*(variant.work() for _ in range(variant.together)))
    return waves * variant.together
