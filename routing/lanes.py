"""A model on a server as the pool sees it while requests run: how many, how fast, how reliable.

Several replicas (experts on the same model) share a lane, because they share what it stands for: memory and compute.
"""

from dataclasses import dataclass

from routing.breaker import Breaker
from routing.catalog import Replica

LaneKey = tuple[str, str]
PACE = 0.2  # of the newest measurement in a moving average


def lane_key(replica: Replica) -> LaneKey:
    return replica.server.base_url, replica.model


@dataclass(slots=True, kw_only=True)
class Lane:
    """Times in seconds: ``first`` to the first token, ``total`` of a request, ``load`` of the model."""

    key: LaneKey
    breaker: Breaker
    in_flight: int = 0
    waiting: int = 0
    served: int = 0
    first: float = 0.3  # until measured: hopeful, so that a new replica is tried
    total: float = 1.0
    load: float = 10.0
    speed: float = 0.0  # tokens a second of one request
    rests_until: float = 0.0  # a server that answered 429 or 503 said how long to leave it alone
    last_failure: str = ""

    def free(self, replica: Replica) -> int:
        return replica.concurrency - self.in_flight

    def admits(self, replica: Replica, now: float) -> bool:
        return self.free(replica) > 0 and now >= self.rests_until and self.breaker.admits(now)

    def expected_start(self, replica: Replica, *, cold: bool, now: float) -> float:
        """Return the seconds until a request sent here now would show its first token.

        What is resident beats what has to be loaded; then the queue counts, then how quick it has been.
        """
        wait = 0.0 if self.free(replica) > 0 else (self.waiting + 1) * self.total / max(1, replica.concurrency)
        rest = max(0.0, self.rests_until - now, self.breaker.seconds_until_probe(now))
        return max(wait, rest) + (self.load if cold else 0.0) + self.first

    def measured(self, *, first: float | None, total: float, tokens: int | None) -> None:
        """Take a finished request's times into the averages."""
        self.served += 1
        self.total += (PACE if self.served > 1 else 1.0) * (total - self.total)
        if first is not None:
            self.first += (PACE if self.served > 1 else 1.0) * (first - self.first)
            if tokens and total > first:
                seen = tokens / (total - first)
                self.speed += (PACE if self.speed else 1.0) * (seen - self.speed)
