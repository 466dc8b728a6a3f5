"""The program at work: asked within its time limit, rested where it fails, and what it said before.

Nothing here fails a request or holds it longer than the limit: whatever goes wrong becomes a sentence in the decision.
DSPy is loaded in a thread, and only where a program is active.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from routing.breaker import Breaker
from routing.catalog import Catalog, Expert, Replica
from routing.catalog import catalog as live_catalog
from routing.exceptions import EndpointError
from routing.features import Features
from routing.pool import Pool, new_pool, shared_pool
from routing.program.active import Active, Program
from routing.program.active import active as live_program
from routing.program.opinion import ProgramOpinion
from routing.program.question import inputs_for
from routing.program.verdict import Verdict

if TYPE_CHECKING:
    from routing.program.module import ChooseExpert

logger = logging.getLogger("routing")
T = TypeVar("T")

REMEMBERED = 4096
FAILURES, REST_SECONDS = 3, 30.0
"""After so many failures in a row it is left alone for so long, so that no request waits for it in vain."""
SPARE_SECONDS = 0.03
"""Of the time limit, what is left to read what a model has written by then."""
LOOK_SECONDS, UNLUCKY_SECONDS = 1.0, 10.0
"""How often a newly active program is looked for, and how soon after it could not be."""


class CannotAsk(Exception):
    """The program is not to be asked as things are, which is no failure of it; the message says why."""


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A program in memory with how it fared lately, or the problem that keeps it from being there."""

    digest: str
    module: ChooseExpert | None = None
    problem: str = ""
    breaker: Breaker = field(
        default_factory=lambda: Breaker(threshold=FAILURES, cooldown=REST_SECONDS, longest=REST_SECONDS)
    )


class Deciding:
    """Asks the active program, and remembers what it said of the same question. Belongs to a process.

    ``get`` tells which program is active, ``shelf`` which experts there are, ``pool`` where the running loop's is.
    """

    def __init__(
        self,
        get: Callable[[], Awaitable[Active]],
        shelf: Callable[[], Awaitable[Catalog]],
        pool: Callable[[], Pool],
    ) -> None:
        self._get = get
        self._shelf = shelf
        self._pool = pool
        self._loaded: Loaded | None = None
        self._remembered: OrderedDict[tuple[str, bytes], Verdict | None] = OrderedDict()
        self._running: set[asyncio.Task[Any]] = set()

    async def opinion(self, seen: Features, allowed: Mapping[str, Expert]) -> ProgramOpinion | None:
        """Return what the active program says of a request that one of ``allowed`` will answer; None without one.

        Never raises, and never takes longer than the program's time limit.
        """
        began = time.perf_counter()
        version = None
        try:
            program = (await self._get()).program
            if program is None:
                return None
            version = program.version
            opinion = await self._opinion(program, seen, allowed, began)
        except Exception as error:
            logger.exception("the routing program failed")
            opinion = ProgramOpinion(version=version, why_not=f"{type(error).__name__}: {error}")
        return replace(opinion, milliseconds=(time.perf_counter() - began) * 1000)

    async def _opinion(
        self, program: Program, seen: Features, allowed: Mapping[str, Expert], began: float
    ) -> ProgramOpinion:
        if not seen.text.strip():
            return ProgramOpinion(version=program.version, why_not="there is no text")
        inputs = inputs_for(seen.text, allowed.values(), earlier=seen.earlier)
        key = program.digest, _digest(inputs)
        if key in self._remembered:
            return _judged(program, self._remembered[key], remembered=True)
        try:
            loaded = self._usable(program)
            verdict = await self._measured(program, loaded, inputs, began)
        except CannotAsk as reason:
            return ProgramOpinion(version=program.version, why_not=str(reason))
        if time.perf_counter() - began < program.time_limit - SPARE_SECONDS:  # else it may have been cut short
            self._remember(key, verdict)
        return _judged(program, verdict)

    def _usable(self, program: Program) -> Loaded:
        loaded = self._loaded
        if loaded is None or loaded.digest != program.digest:
            raise CannotAsk("DSPy and the program are still being loaded")
        if loaded.module is None:
            raise CannotAsk(loaded.problem)
        now = time.monotonic()
        if not loaded.breaker.admits(now):
            rest = loaded.breaker.seconds_until_probe(now)
            raise CannotAsk(f"it failed {FAILURES} times in a row and is tried again in {rest:.0f} s")
        return loaded

    async def _measured(
        self, program: Program, loaded: Loaded, inputs: Mapping[str, str], began: float
    ) -> Verdict | None:
        """Ask, and take into account how it went; raises CannotAsk."""
        told = False
        loaded.breaker.started(time.monotonic())
        left = program.time_limit - (time.perf_counter() - began)
        try:
            verdict = await self._within(left, self._ask(program, loaded, inputs, time.monotonic() + left))
            loaded.breaker.succeeded()
            told = True
            return verdict
        except CannotAsk:
            raise
        except Exception as error:
            loaded.breaker.failed(time.monotonic())
            told = True
            reason = _said(error, program.time_limit)
            logger.warning("the routing program failed version=%s reason=%s", program.version, reason)
            raise CannotAsk(reason) from error
        finally:
            if not told:
                loaded.breaker.let_go()

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T:
        """Return what ``work`` does, or raise TimeoutError in time, even if it does not end when it is cancelled."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
        finally:
            task.cancel()
        if not done:
            raise TimeoutError
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be waiting any more

    async def _ask(
        self, program: Program, loaded: Loaded, inputs: Mapping[str, str], deadline: float
    ) -> Verdict | None:
        from routing.program.engine import language_model
        from routing.program.module import aask

        assert loaded.module is not None
        expert = await self._runner(program)
        cut_short = deadline - SPARE_SECONDS
        left = max(0.01, cut_short - time.monotonic())
        verdict = await aask(loaded.module, inputs, language_model(expert, timeout=left, pool=self._pool))
        if verdict is None and time.monotonic() >= cut_short:
            raise TimeoutError
        return verdict

    async def _runner(self, program: Program) -> Expert:
        """Return the expert whose model answers, with the replicas that may be asked; raises CannotAsk."""
        if not program.runs_on:
            raise CannotAsk("the expert it runs on was deleted; choose another one for it")
        expert = (await self._shelf()).experts.get(program.runs_on)
        if expert is None:
            raise CannotAsk(f"the expert it runs on, {program.runs_on}, is disabled")
        if not expert.replicas:
            raise CannotAsk(f"the expert it runs on, {program.runs_on}, has no replica on an enabled model server")
        if program.loads_model:
            return expert
        ready = await self._in_memory(expert.replicas)
        if not ready:
            raise CannotAsk(f"the model of {program.runs_on} is not in memory")
        return replace(expert, replicas=ready)

    async def _in_memory(self, replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
        residency = self._pool().residency
        for server in {replica.server.base_url: replica.server for replica in replicas}.values():
            await residency.refresh(server)
        return tuple(replica for replica in replicas if residency.resident(replica) is not False)

    def _remember(self, key: tuple[str, bytes], verdict: Verdict | None) -> None:
        self._remembered[key] = verdict
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    async def warm(self) -> None:
        """Load DSPy and the active program in a thread, where one is active and not loaded yet."""
        program = (await self._get()).program
        if program is None or (self._loaded and self._loaded.digest == program.digest):
            return
        try:
            self._loaded = Loaded(digest=program.digest, module=await asyncio.to_thread(_module, program.state))
        except Exception as error:
            logger.exception("the active routing program cannot be loaded version=%s", program.version)
            problem = f"it cannot be loaded: {type(error).__name__}: {error}"
            self._loaded = Loaded(digest=program.digest, problem=problem)

    async def aclose(self) -> None:
        """Wait for what was cut off to let go of its connections, a second at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=1.0)


def _module(state: Mapping[str, Any]) -> ChooseExpert:
    from routing.program import engine, module  # noqa: F401 - DSPy, and all that a request will need of it

    # It warns of each answer that was cut short; here that is what a time limit does.
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)
    return module.module_from(state)


def _judged(program: Program, verdict: Verdict | None, *, remembered: bool = False) -> ProgramOpinion:
    if verdict is None:
        why_not = "its answer names none of the experts that may be chosen"
    elif verdict.confidence < program.accept_from:
        why_not = f"its confidence is under {program.accept_from:.0%}"
    else:
        why_not = ""
    return ProgramOpinion(
        version=program.version, verdict=verdict, accepted=not why_not, why_not=why_not, remembered=remembered
    )


def _said(error: BaseException, limit: float) -> str:
    """Return what is told of a failure: our own words for it, wherever DSPy wrapped them."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, EndpointError):
            return found.message
        if isinstance(found, TimeoutError):
            return f"it took longer than {limit:g} s"
        found = found.__cause__
    return f"{type(error).__name__}: {error}"


def _digest(inputs: Mapping[str, str]) -> bytes:
    return hashlib.blake2b("\0".join(inputs.values()).encode(), digest_size=16).digest()


_shared: dict[str, Deciding] = {}


def shared_deciding() -> Deciding:
    """Return what asks the active program in this process."""
    return _shared.setdefault("deciding", Deciding(live_program.aget, live_catalog.aget, shared_pool))


async def keep_loaded() -> None:
    """Have the active program loaded, whichever that is at the time, for ever."""
    while True:
        try:
            await shared_deciding().warm()
            await asyncio.sleep(LOOK_SECONDS)
        except Exception as error:  # the database may be away
            logger.warning("could not look for an active program, trying again in=%ss error=%s", UNLUCKY_SECONDS, error)
            await asyncio.sleep(UNLUCKY_SECONDS)


@asynccontextmanager
async def deciding_apart(program: Program | None = None) -> AsyncIterator[Deciding]:
    """Yield one with its program loaded, a memory and a pool of its own: for commands, and pages that try things.

    ``program`` is asked instead of the active one, if it is given.
    """

    async def given() -> Active:
        return Active(program=program)

    pool = new_pool()
    deciding = Deciding(given if program else live_program.aget, live_catalog.aget, lambda: pool)
    try:
        await deciding.warm()
        yield deciding
    finally:
        await deciding.aclose()
        await pool.aclose()
