"""A queue that gives each tenant its turn. Pure."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """Items wait by tenant; a tenant's turn comes in proportion to its weight, however many items it has waiting.

    Start-time fair queueing (Goyal, Vin, Cheng 1996): a tenant's clock advances by 1/weight with each turn, and the
    one whose clock is least is next. One that comes back starts at the present, so that idling saves up nothing.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._clocks: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._now = 0.0

    def __len__(self) -> int:
        return sum(len(items) for items in self._waiting.values())

    def push(self, item: T, *, tenant: str, weight: float = 1.0) -> None:
        if tenant not in self._waiting:
            self._waiting[tenant] = deque()
            self._clocks[tenant] = max(self._clocks.get(tenant, 0.0), self._now)
        self._weights[tenant] = weight
        self._waiting[tenant].append(item)

    def discard(self, item: T, *, tenant: str) -> None:
        """Take ``item`` out, if it still waits."""
        items = self._waiting.get(tenant)
        if items and item in items:
            items.remove(item)
            self._forget_idle(tenant)

    def pick(self, fits: Callable[[T], bool]) -> T | None:
        """Take out and return the next item that ``fits``: of the tenant whose turn it is, its oldest."""
        for tenant in sorted(self._waiting, key=self._clocks.__getitem__):
            for item in self._waiting[tenant]:
                if fits(item):
                    self._take_turn(tenant, item)
                    return item
        return None

    def count(self, tenant: str) -> int:
        return len(self._waiting.get(tenant, ()))

    def crowding(self) -> tuple[str, T] | None:
        """Return the tenant with the most waiting items and its newest one."""
        if not self._waiting:
            return None
        tenant = max(self._waiting, key=lambda name: len(self._waiting[name]))
        return tenant, self._waiting[tenant][-1]

    def _take_turn(self, tenant: str, item: T) -> None:
        self._waiting[tenant].remove(item)
        self._now = max(self._now, self._clocks[tenant])
        self._clocks[tenant] += 1.0 / self._weights[tenant]
        self._forget_idle(tenant)

    def _forget_idle(self, tenant: str) -> None:
        if self._waiting[tenant]:
            return
        del self._waiting[tenant]
        # A clock in the past is worth nothing any more; one ahead is a debt, kept while others wait.
        for name, clock in list(self._clocks.items()):
            if name not in self._waiting and (clock <= self._now or not self._waiting):
                del self._clocks[name], self._weights[name]
