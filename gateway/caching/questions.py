"""Vectors of questions, by which similar ones are found."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings

from routing.vectorcache import QUERY, vectors

# Measured on real questions (docs/caching.md); MiniLM knows English only.
EMBEDDER = "multilingual-e5-small-q4"
_threads = ThreadPoolExecutor(1, thread_name_prefix="similar questions")


async def question_vector(text: str) -> list[float] | None:
    """Return the vector of a question, or None for one of which the model would read only the beginning.

    Raises EmbedderUnavailable.
    """
    if found := vectors.get(EMBEDDER + QUERY, text):
        return found
    return await asyncio.get_running_loop().run_in_executor(_threads, _embedded, text)


def _embedded(text: str) -> list[float] | None:
    from routing.classifier.e5 import multilingual_embedder

    embedder = multilingual_embedder(settings.MOE_DATA_DIR / "models")
    if embedder.count_tokens(text) >= embedder.max_tokens:
        return None
    vector: list[float] = embedder.embed(text).tolist()
    vectors.set(EMBEDDER + QUERY, text, vector, stored=False)
    return vector
