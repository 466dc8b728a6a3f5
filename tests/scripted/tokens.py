"""A stand-in tokenizer and embedder: deterministic, so that tests can predict counts and distances."""

import re
import zlib
from array import array
from collections.abc import Iterable

# A long run of one letter must still cost many tokens, or an over-long prompt could not be made of it.
_TOKEN = re.compile(r"\w{1,4}|[^\w\s]")


def tokenize(text: str) -> list[str]:
    """Split text into pieces of up to four word characters, or one other sign."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """Number a token the same way in every process."""
    return zlib.crc32(token.encode()) % 32_000


def count(*texts: str) -> int:
    """Count the tokens of all texts together."""
    return sum(len(tokenize(text)) for text in texts)


def vector(text: str, size: int, dimensions: int = 0) -> list[float]:
    """Embed text as an L2-normalised bag of hashed words, so that texts which share words lie close.

    Like Ollama, `dimensions` below `size` cuts the vector and normalises it again; anything else is ignored.
    """
    values = [0.0] * size
    values[0] = 0.5  # words add whole numbers, so no text can cancel out to a zero vector
    for word in re.findall(r"\w+", text.lower()):
        digest = zlib.crc32(word.encode())
        values[digest % size] += 1.0 if digest & 0x10000 else -1.0
    if 0 < dimensions < size:
        values = values[:dimensions]
    return list(array("f", _normalised(values)))


def _normalised(values: Iterable[float]) -> list[float]:
    kept = list(values)
    norm = sum(value * value for value in kept) ** 0.5
    return [value / norm for value in kept]
