"""The classifier at work: the active version in memory, its embedder, and what it said before.

Nothing here fails a request: whatever goes wrong becomes a sentence in the decision.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.conf import settings

from routing.backends.local import EmbedderUnavailable
from routing.classifier.model import Classifier
from routing.classifier.reading import Reading
from routing.classifier.sample import sample
from routing.language import language_of
from routing.live import LiveSnapshot
from routing.vectorcache import QUERY, vectors

logger = logging.getLogger("routing")

REMEMBERED = 8192
EMBEDDING_SECONDS = 0.5
"""How long a decision waits for an embedding before it does without."""
REST_SECONDS = 30.0
"""How long an embedder that cannot be loaded is left alone: trying costs each decision time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the classifier thinks of a prompt: each expert's probability; ``abstain`` is where it begins to be sure.

    ``layer`` is "quick" or "thorough"; ``skipped`` says what could not be used.
    """

    probabilities: Mapping[str, float] = field(default_factory=dict)
    abstain: float = 1.0
    layer: str = ""
    skipped: tuple[str, ...] = ()
    remembered: bool = False


class Embedder(Protocol):
    @property
    def model_id(self) -> str: ...

    def embed(self, text: str) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class Active:
    """The classifier in use, or why there is none."""

    classifier: Classifier | None = None
    version: int | None = None
    problem: str = ""


def load() -> Active:
    """Read the active version from the database; one that cannot be read is a problem, not an error."""
    from routing.models import ClassifierVersion

    row = ClassifierVersion.objects.filter(active=True).first()
    if row is None:
        return Active(problem="no classifier is active")
    try:
        data = bytes(row.weights)
        if hashlib.sha256(data).hexdigest() != row.weights_sha256:
            raise ValueError("its weights are not what was stored")
        return Active(classifier=Classifier.loads(data), version=row.pk)
    except Exception as error:
        logger.exception("the active classifier cannot be read version=%s", row.pk)
        return Active(problem=f"classifier {row.pk} cannot be read: {error}", version=row.pk)


active: LiveSnapshot[Active] = LiveSnapshot(load, name="classifier")


def connect_signals() -> None:
    from routing.models import ClassifierVersion

    active.watch((ClassifierVersion,))


class Classifying:
    """Asks a classifier, and remembers what it said of the same text. Belongs to a process; safe in any event loop."""

    def __init__(self, get: Callable[[], Awaitable[Active]], embedder: Callable[[], Embedder]) -> None:
        self._get = get
        self._embedder = embedder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        self._remembered: OrderedDict[tuple[int, bytes], Opinion] = OrderedDict()
        self._lock = threading.Lock()
        self._broken: tuple[float, EmbedderUnavailable] | None = None

    async def opinion(self, text: str, reading: Reading) -> Opinion:
        """Return the opinion on a prompt. Never raises; an embedding is made in a thread, all else takes about 1 ms."""
        try:
            now = await self._get()
            if now.classifier is None:
                return Opinion(skipped=(f"classifier: {now.problem}",))
            key = (
                now.version or id(now.classifier),
                hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest(),
            )
            if found := self._remembered.get(key):
                return found
            opinion = await self._asked(now.classifier, text, reading)
            if not opinion.skipped:
                self._remember(key, opinion)
            return opinion
        except Exception as error:
            logger.exception("the classifier failed")
            return Opinion(skipped=(f"classifier: {type(error).__name__}: {error}",))

    async def _asked(self, classifier: Classifier, text: str, reading: Reading) -> Opinion:
        seen = sample(text, reading)
        quick = classifier.quick.probabilities(seen)
        if classifier.thorough is None or float(quick.max()) >= classifier.sure:
            return _opinion(classifier, quick, "quick")
        try:
            vector = await asyncio.wait_for(
                asyncio.get_running_loop().run_in_executor(self._thread, self._embed, classifier, seen.text),
                EMBEDDING_SECONDS,
            )
        except Exception as error:
            what = "took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            return _opinion(classifier, quick, "quick", f"embedder: {what}")
        return _opinion(classifier, classifier.thorough.probabilities(seen, vector), "thorough")

    def _embed(self, classifier: Classifier, text: str) -> Any:
        import numpy as np

        if self._broken and time.monotonic() < self._broken[0]:
            raise self._broken[1]
        embedder = self._embedder()
        if embedder.model_id != classifier.embedder:
            raise ValueError(f"the classifier was trained with {classifier.embedder}, here is {embedder.model_id}")
        known = vectors.get(embedder.model_id + QUERY, text)
        if known is not None:
            return np.array(known, np.float32)
        try:
            vector = embedder.embed(text)
        except EmbedderUnavailable as error:
            self._broken = time.monotonic() + REST_SECONDS, error
            raise
        # Not in the table: asking it takes about as long as embedding.
        vectors.set(embedder.model_id + QUERY, text, vector, stored=False)
        return vector

    def _remember(self, key: tuple[int, bytes], opinion: Opinion) -> None:
        kept = Opinion(
            probabilities=opinion.probabilities, abstain=opinion.abstain, layer=opinion.layer, remembered=True
        )
        with self._lock:
            self._remembered[key] = kept
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    async def warm(self) -> None:
        """Load what the first decision would wait for, in the thread that will use it. Never raises."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, language_of, "What language is this?")
        try:
            now = await self._get()
            if now.classifier and now.classifier.thorough:
                await loop.run_in_executor(self._thread, self._embed, now.classifier, "warm")
        except Exception as error:
            logger.warning("the classifier goes on without embeddings: %s", error)


def _opinion(classifier: Classifier, probabilities: Any, layer: str, *skipped: str) -> Opinion:
    return Opinion(
        probabilities=dict(zip(classifier.experts, map(float, probabilities), strict=True)),
        abstain=classifier.abstain,
        layer=layer,
        skipped=skipped,
    )


_shared: dict[str, Any] = {}


def shared_embedder() -> Embedder:
    """Return the process's multilingual embedder; loads on first use, and raises EmbedderUnavailable when it cannot."""
    from routing.classifier.e5 import multilingual_embedder

    found: Embedder = multilingual_embedder(settings.MOE_DATA_DIR / "models")
    return found


def shared_classifying() -> Classifying:
    found: Classifying = _shared.setdefault("classifying", Classifying(active.aget, shared_embedder))
    return found
