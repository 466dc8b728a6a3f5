"""One request of several equal ones at the same time goes to a model; the others wait for what comes of it."""

import asyncio
from dataclasses import dataclass, field

from gateway.caching.kept import Kept

FOLLOWED = 3
"""Requests that one waits for, one after the other, before it goes to a model itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer that is given again; ``similarity`` is None where it is one to the same request."""

    kept: Kept
    similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """What came of a request: an answer, or none. ``ended`` is whether it came to an end, which was not to be kept."""

    found: Found | None = None
    ended: bool = False


@dataclass(slots=True, eq=False)
class Flight:
    """A request that others wait for; belongs to its event loop."""

    landing: "asyncio.Future[Landing]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def landed(self) -> Landing:
        """Return what comes of it. Who waits and leaves takes nothing from the others."""
        return await asyncio.shield(self.landing)

    def land(self, landing: Landing) -> None:
        """Tell those who wait; the first word counts."""
        if not self.landing.done():
            self.landing.set_result(landing)


class Flights:
    """The requests of an event loop that others may wait for, by digest."""

    def __init__(self) -> None:
        self._flying: dict[str, Flight] = {}

    def begin(self, digest: str) -> Flight:
        flight = self._flying[digest] = Flight()
        return flight

    def end(self, digest: str, flight: Flight) -> None:
        """Forget ``flight``; those who still wait are told that nothing came of it."""
        if self._flying.get(digest) is flight:
            del self._flying[digest]
        flight.land(Landing())

    def get(self, digest: str) -> Flight | None:
        return self._flying.get(digest)
