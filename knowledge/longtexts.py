"""Texts that are longer than their model reads: cut for another one, by whose tokens they fit, or written by people."""

from collections.abc import Sequence

from knowledge.embedding import Embedder, ModelSpec, Vector


class Whole:
    """An embedder that takes texts too long for its model in parts, whose mean stands for them."""

    def __init__(self, embedder: Embedder, spec: ModelSpec) -> None:
        self._embedder = embedder
        self._most = spec.max_tokens

    def count(self, text: str) -> int:
        return self._embedder.count(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        parts = [self._parts(text) for text in texts]
        vectors = iter(await self._embedder.passages([part for one in parts for part in one]))
        return [_mean([next(vectors) for _ in one]) for one in parts]

    async def question(self, text: str) -> Vector:
        return await self._embedder.question(text)

    def _parts(self, text: str) -> list[str]:
        middle = text.find(" ", len(text) // 2)
        if middle <= 0 or self.count(text) <= self._most:
            return [text]
        return [*self._parts(text[:middle]), *self._parts(text[middle + 1 :])]


def _mean(vectors: list[Vector]) -> Vector:
    if len(vectors) == 1:
        return vectors[0]
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]
