"""Redis, where limits are counted together."""

import time
from collections.abc import Iterator

from moe_site.doctor.finding import Finding, error, ok, warning

ABOUT = "redis"
SECONDS = 3.0
SLOW_SECONDS = 0.02
OLDEST = 6


def look(url: str) -> Iterator[Finding]:
    """Ask for a sign of life, the version, and what happens when its memory is full."""
    import redis

    client = redis.Redis.from_url(url, socket_connect_timeout=SECONDS, socket_timeout=SECONDS, retry=None)
    try:
        client.ping()
        began = time.monotonic()
        client.ping()
        took = time.monotonic() - began
        told = client.info()
    except redis.AuthenticationError:
        yield error(ABOUT, "It refuses the password.", "Correct it in REDIS_URL: redis://:password@host:6379/0")
        return
    except (redis.RedisError, OSError, ValueError) as problem:
        yield error(
            ABOUT,
            f"It does not answer: {type(problem).__name__}.",
            "Start it, correct REDIS_URL, or leave REDIS_URL empty. REDIS_DOWN says what happens meanwhile.",
        )
        return
    finally:
        client.close()
    yield from _told(str(told.get("redis_version", "")), str(told.get("maxmemory_policy", "")), took)


def _told(version: str, policy: str, took: float) -> Iterator[Finding]:
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) < OLDEST:
        yield warning(ABOUT, f"Redis {version} is old.", f"Use version {OLDEST} or newer.")
    if policy.startswith("allkeys"):
        yield warning(
            ABOUT,
            f"When its memory is full it forgets counters (maxmemory-policy {policy}).",
            "Give limits a Redis of their own, or set maxmemory-policy to noeviction or volatile-ttl.",
        )
    if took > SLOW_SECONDS:
        yield warning(
            ABOUT, f"It takes {took * 1000:.0f} ms for an answer.", "Each request waits for it: move it nearer."
        )
    else:
        yield ok(ABOUT, f"Redis {version} answers in {took * 1000:.1f} ms.")
