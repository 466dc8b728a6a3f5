"""Texts into vectors by whichever model a collection has: in this process, or on the model servers.

In the process there are MiniLM, made for English, and multilingual E5, which knows about a hundred languages; both
give 384 numbers. What is on model servers goes through the pool, as chats do.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from knowledge.exceptions import EmbeddingFailed
from routing.backends.embeddings import TEXTS_PER_CALL, EmbeddingCall, Embeddings
from routing.backends.local import LocalEmbedder, local_embedder
from routing.catalog import Replica, catalog
from routing.exceptions import ContextLengthExceeded
from routing.metering import helping
from routing.named import decide_embedding
from routing.pool import shared_pool
from routing.tokens import estimate_text
from routing.trial import Attempt

if TYPE_CHECKING:
    from knowledge.models import EmbeddingModel
    from routing.classifier.e5 import MultilingualEmbedder

Vector = Sequence[float]

MINILM = LocalEmbedder.model_id
MULTILINGUAL = "multilingual-e5-small-q4"

TENANT = "knowledge"
"""Whose turn it is in a model server's queue when documents are embedded; questions come under their asker's name."""
WEIGHT = 0.25
"""Its share beside a chat's."""
ESTIMATE_MARGIN = 1.25
"""Tokens of models elsewhere are estimated; chunks are cut by this much more than the estimate."""
LENGTHS = (2_048, 1_024, 512, 256, 128, 64, 32)
"""Tokens of the texts that a new model is tried with; no collection cuts longer ones."""
PROBE_MARGIN = 1.1
"""Tokens of a word that every tokenizer knows, those around a text included, at most."""
THREADS = 2
SHORTEST_HALF = 20  # characters; a text shorter than two of these that is too long for a model is no text


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is needed to use an embedding model, as its row has it."""

    id: int
    name: str
    in_process: bool
    dimensions: int
    max_tokens: int
    query_prefix: str = ""
    passage_prefix: str = ""
    floor: float = 0.0
    ceiling: float = 1.0
    indexed: bool = False

    @classmethod
    def of(cls, row: "EmbeddingModel") -> "ModelSpec":
        return cls(
            id=row.pk,
            name=row.name,
            in_process=row.source == "in_process",
            dimensions=row.dimensions,
            max_tokens=row.max_tokens,
            query_prefix=row.query_prefix,
            passage_prefix=row.passage_prefix,
            floor=row.floor,
            ceiling=row.ceiling,
            indexed=row.indexed,
        )

    def scaled(self, similarity: float) -> float:
        """Return what a cosine says on a scale where 0 is nothing to do with it and 1 answers it.

        Not cut off at its ends, so that it keeps the order of cosines.
        """
        return (similarity - self.floor) / (self.ceiling - self.floor)


class Embedder(Protocol):
    """Both methods raise EmbeddingFailed or another EndpointError; ``count`` is of one text, prefixes left out."""

    def count(self, text: str) -> int: ...

    async def passages(self, texts: Sequence[str]) -> list[Vector]: ...

    async def question(self, text: str) -> Vector: ...


def embedder_of(spec: ModelSpec) -> Embedder:
    """Return what embeds for ``spec``, and no text twice.

    Raises EmbeddingFailed for a model of this process that does not exist.
    """
    from knowledge.remembered import Remembered

    return Remembered(_maker(spec), spec)


def _maker(spec: ModelSpec) -> Embedder:
    if not spec.in_process:
        return _OnServers(spec)
    if spec.name == MINILM:
        return _MiniLM(local_embedder())
    if spec.name == MULTILINGUAL:
        from routing.classifier.e5 import multilingual_embedder

        return _Multilingual(multilingual_embedder(settings.MOE_DATA_DIR / "models"))
    raise EmbeddingFailed(f"This version has no embedding model '{spec.name}'. Choose another one for the collection.")


@dataclass(frozen=True, slots=True)
class _MiniLM:
    model: LocalEmbedder

    def count(self, text: str) -> int:
        return self.model.count_tokens(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        return [*await self.model.aembed(texts)]

    async def question(self, text: str) -> Vector:
        return (await self.model.aembed([text]))[0]


@dataclass(frozen=True, slots=True)
class _Multilingual:
    model: "MultilingualEmbedder"

    def count(self, text: str) -> int:
        return self.model.count_passage_tokens(text)

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        return [*await asyncio.gather(*(self._run(self.model.embed_passage, text) for text in texts))]

    async def question(self, text: str) -> Vector:
        return await self._run(self.model.embed, text)

    async def _run(self, embed: Callable[[str], Any], text: str) -> Vector:
        found: Vector = (await asyncio.get_running_loop().run_in_executor(_threads(), embed, text)).tolist()
        return found


_executors: list[ThreadPoolExecutor] = []


def _threads() -> ThreadPoolExecutor:
    if not _executors:
        _executors.append(ThreadPoolExecutor(THREADS, thread_name_prefix="embed-multilingual"))
    return _executors[0]


@dataclass(frozen=True, slots=True)
class _OnServers:
    spec: ModelSpec

    def count(self, text: str) -> int:
        return int(estimate_text(text) * ESTIMATE_MARGIN) + 1

    async def passages(self, texts: Sequence[str]) -> list[Vector]:
        found: list[Vector] = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            batch = [self.spec.passage_prefix + text for text in texts[start : start + TEXTS_PER_CALL]]
            found.extend(await self._embedded(batch, weight=WEIGHT))
        return found

    async def question(self, text: str) -> Vector:
        return (await self._embedded([self.spec.query_prefix + text], weight=1.0))[0]

    async def _embedded(self, texts: Sequence[str], *, weight: float) -> list[Vector]:
        try:
            return self._checked(await _on_servers(self.spec.name, texts, weight))
        except ContextLengthExceeded:
            # The estimate was wrong for one of them. Nothing is cut off: a text that is too long is embedded in
            # halves, whose mean stands for it.
            if len(texts) > 1:
                return [vector for text in texts for vector in await self._embedded([text], weight=weight)]
            halves = _halves(texts[0])
            if halves is None:
                raise
            return [_mean(await self._embedded(halves, weight=weight))]

    def _checked(self, vectors: tuple[Vector, ...]) -> list[Vector]:
        if wrong := next((len(vector) for vector in vectors if len(vector) != self.spec.dimensions), None):
            raise EmbeddingFailed(
                f"The model '{self.spec.name}' gave vectors of {wrong} numbers, and {self.spec.dimensions} are known "
                "of it. It was changed on the model server: register it in admin as a new embedding model."
            )
        return [*vectors]


async def _on_servers(name: str, texts: Sequence[str], weight: float) -> tuple[Vector, ...]:
    decision = decide_embedding(name, await catalog.aget())
    vectors: tuple[Vector, ...] = ()

    async def start(replica: Replica) -> AsyncGenerator[Embeddings]:
        call = EmbeddingCall(model=replica.model, texts=tuple(texts), keep_alive=replica.keep_alive)
        yield await shared_pool().client.embed(replica.server, call)

    with helping("retrieval"):
        async with aclosing(shared_pool().run(decision, start, tenant=TENANT, weight=weight)) as events:
            async for event in events:
                if not isinstance(event, Attempt):
                    vectors = event.vectors
                elif event.call:
                    event.call.expects = partial(shared_pool().likely_tokens, event.replica, texts)
    return vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a model on the model servers was found to be: how wide its vectors are, and how many tokens it reads.

    ``tokens`` is the longest of LENGTHS that it read.
    """

    dimensions: int
    tokens: int


async def probed(name: str) -> Probe:
    """Return what the model called ``name`` on the model servers is, as it shows itself. Raises EndpointError."""
    vector = (await _on_servers(name, ["How wide is a vector?"], 1.0))[0]
    if not any(vector):
        raise EmbeddingFailed(f"The model '{name}' answers with vectors that are all zeros. Choose another one.")
    for tokens in LENGTHS:
        try:
            await _on_servers(name, [" ".join(["word"] * int(tokens / PROBE_MARGIN))], 1.0)
        except ContextLengthExceeded:
            continue
        return Probe(dimensions=len(vector), tokens=tokens)
    raise EmbeddingFailed(f"The model '{name}' reads less than {LENGTHS[-1]} tokens, too few for a passage.")


def _halves(text: str) -> list[str] | None:
    middle = text.find(" ", len(text) // 2)
    middle = len(text) // 2 if middle < 0 else middle
    return [text[:middle], text[middle:]] if len(text) >= 2 * SHORTEST_HALF else None


def _mean(vectors: Sequence[Vector]) -> Vector:
    return [sum(values) / len(vectors) for values in zip(*vectors, strict=True)]
