"""Two scripted servers of different speed under 50 concurrent requests, and one key that floods beside calm ones.

Run with ``python -m tests.benchmarks.two_servers``; bounded to about a minute, loopback only. The scripted servers
only wait, so the figures are of the pool's choices, not of any hardware.
"""

import asyncio
import logging
import statistics
import time
from contextlib import aclosing

import django
from django.conf import settings

import tests.environment  # noqa: F401  (a data directory of its own, before settings are read)

CONCURRENT = 50
SECONDS = 8.0
MODEL = "llama3.2:3b"


def main() -> None:
    django.setup()
    logging.disable(logging.WARNING)
    assert settings.configured
    asyncio.run(_main())


async def _main() -> None:
    from routing.admission import Limits
    from routing.backends.client import Timeouts, UpstreamClient
    from routing.backends.protocol import ServerAddress, ServerKind
    from routing.catalog import Expert, Replica
    from routing.decision import Decision
    from routing.pool import Pool
    from routing.trial import Attempt
    from tests.requests import chat_request
    from tests.scripted import Reply, Residency, ScriptedModel, ScriptedServer

    def decision(*servers: ScriptedServer) -> Decision:
        replicas = tuple(
            Replica(
                server=ServerAddress(name=str(number), kind=ServerKind.OLLAMA, base_url=server.url),
                embedded=False,
                model=MODEL,
                concurrency=4,
            )
            for number, server in enumerate(servers)
        )
        return Decision(id="d", expert=Expert(slug="e", replicas=replicas), route="explicit", why="")

    async def load(chosen: Decision, tenants: list[str]) -> dict[str, list[float]]:
        """Return each tenant's waits, of the requests that ended in time."""
        pool = Pool(UpstreamClient(Timeouts()), max_retries=0, limits=Limits(queue=500, wait=60), load_seconds=5)
        waits: dict[str, list[float]] = {tenant: [] for tenant in tenants}
        end = time.monotonic() + SECONDS

        async def client(tenant: str) -> None:
            while time.monotonic() < end:
                waited = 0.0
                async with aclosing(pool.chat(chosen, chat_request(), tenant=tenant)) as events:
                    async for event in events:
                        waited = event.waited if isinstance(event, Attempt) else waited
                if time.monotonic() < end:
                    waits[tenant].append(waited)

        await asyncio.gather(*(client(tenant) for tenant in tenants))
        await pool.aclose()
        return waits

    with ScriptedServer([ScriptedModel(name=MODEL)]) as fast, ScriptedServer([ScriptedModel(name=MODEL)]) as slow:
        for server, pace in ((fast, 1.0), (slow, 1.2)):
            server.loaded[MODEL] = Residency(context_length=4096)
            server.reply(Reply(content=["a"] * 5, load_delay=0.5 * pace, delay=0.05 * pace), times=None)
        even = [f"key {number % 5}" for number in range(CONCURRENT)]
        for _ in range(2):
            alone = sum(map(len, (await load(decision(fast), even)).values())) / SECONDS
            both = sum(map(len, (await load(decision(fast, slow), even)).values())) / SECONDS
            print(f"one server {alone:.1f}/s, two {both:.1f}/s: {both / alone:.2f} x (1.83 is all there is)")
        waits = await load(decision(fast, slow), ["flood"] * 40 + [f"calm {number % 5}" for number in range(10)])
        for tenant, seconds in sorted(waits.items()):
            print(f"{tenant}: {len(seconds)} answers, median wait {statistics.median(seconds):.2f} s")


if __name__ == "__main__":
    main()
