"""One of several processes that all ask for the same limits: `python -m tests.gateway.crowd URL REQUESTS PROCESSES`.

Prints, as JSON, for each of CLAIMS from when and until when each of its requests was let in.
"""

import asyncio
import json
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moe_site.settings")

from gateway.limits.claims import Claim, Limit, Spent
from gateway.limits.limiter import Limiter
from gateway.limits.shared import SharedStore

MOST = 60
SEATS = 9
RESERVED = 100
CLAIMS = {
    "requests": [Claim(Limit("key:1", "requests_per_minute", MOST), 1, 1)],
    "tokens": [Claim(Limit("key:1", "tokens_per_minute", MOST * RESERVED), RESERVED, RESERVED)],
    "budget": [Claim(Limit("key:1", "tokens_per_day", MOST * RESERVED), RESERVED, RESERVED, "2026-11-26")],
    "both": [
        Claim(Limit("key:1", "requests_per_minute", 2 * MOST), 1, 1),
        Claim(Limit("group:a", "requests_per_minute", MOST), 1, 1),
    ],
    "seats": [Claim(Limit("key:1", "concurrent_requests", SEATS), 1, 1)],
}


async def main(url: str, requests: int, processes: int) -> None:
    limiter = Limiter(shared=SharedStore(url, seconds=10))
    spans = {}
    for what in CLAIMS:
        await together(url, what, processes)
        let_in = await asyncio.gather(*(one(limiter, what) for _ in range(requests)))
        spans[what] = [span for span in let_in if span]
    print(json.dumps(spans))
    assert limiter.state == "ok"
    await limiter.aclose()


async def one(limiter: Limiter, what: str) -> tuple[float, float] | None:
    """Ask once, or for a seat until there is one; each keeps it for a moment."""
    while not (holding := await limiter.take(CLAIMS[what])).taken.is_granted:
        if what != "seats":
            return None
        await asyncio.sleep(0.005)
    came = time.monotonic()
    await asyncio.sleep(0.01)
    left = time.monotonic()
    if settling := limiter.settle(holding, Spent(tokens=RESERVED)):
        await settling
    return came, left


async def together(url: str, what: str, processes: int) -> None:
    """Return when all processes have come so far."""
    from redis.asyncio import Redis

    async with Redis.from_url(url) as redis:
        there = await redis.incr(f"there for {what}")
        while there < processes:
            await asyncio.sleep(0.01)
            there = int(await redis.get(f"there for {what}") or 0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
