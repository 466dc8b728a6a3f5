"""Keeps an embedder busy: texts go in by batches, vectors are stored while the next ones are made.

The embedder is the slow part, so it is what everything else waits for: a gate lets a few batches of the whole process
in at a time, and no more texts are prepared than go in soon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from knowledge.embedding import Embedder, Vector

BATCH = 32
"""Texts of one call."""
IN_FLIGHT = 3
"""Batches of one job on their way: those that are embedded, and one that is stored meanwhile."""

Store = Callable[[Mapping[int, Vector]], Awaitable[None]]


@dataclass(slots=True)
class Gate:
    """Lets ``calls`` calls to an embedder run at a time in this event loop."""

    calls: int = 2
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.calls)

    async def passages(self, embedder: Embedder, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of ``texts``; raises EndpointError."""
        async with self._places:
            return await embedder.passages(texts)


async def vectors_make(texts: Iterable[tuple[int, str]], embedder: Embedder, gate: Gate, store: Store) -> None:
    """Embed texts by their chunks' ids and store the vectors, some batches at once.

    Raises what either raises, after what was on its way has been stored too: it need not be made again.
    """
    batches = _batches(texts)
    errors: list[Exception] = []

    async def feed() -> None:
        while not errors and (batch := next(batches, None)):
            try:
                vectors = await gate.passages(embedder, [text for _, text in batch])
                await store({chunk_id: vector for (chunk_id, _), vector in zip(batch, vectors, strict=True)})
            except Exception as error:
                errors.append(error)

    await asyncio.gather(*(feed() for _ in range(IN_FLIGHT)))
    if errors:
        raise errors[0]


def _batches(texts: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    for one in texts:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
