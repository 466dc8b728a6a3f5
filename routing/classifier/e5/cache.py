"""The file that keeps the built graph, and the seal by which it is known to be whole."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from pathlib import Path

from routing.classifier.e5.graph import GRAPH_VERSION, encoder_graph
from routing.classifier.e5.onnxfile import metadata
from routing.classifier.e5.weights import Weights
from routing.classifier.e5.wheel import WEIGHTS_SHA256, verified

logger = logging.getLogger("routing")

SEAL_BYTES = 106  # what `_seal` returns: framing, 32 hexadecimal digits of the stamp and 64 of the digest


def cached_graph(weights: Path, cache_dir: Path) -> str | bytes:
    """Return the path of the graph if the cache has it whole and made from these weights, else a new graph.

    Its last field says so: metadata with the size and time of the weights' file, and a SHA-256 of all before
    it and of those two. Weights with that size and time were verified then and are not hashed again.
    Raises EmbedderUnavailable when the weights are not the known ones.
    """
    cached = cache_dir / f"multilingual-e5-small-{WEIGHTS_SHA256}-v{GRAPH_VERSION}.onnx"
    status = weights.stat()
    stamp = f"{status.st_size:016x}{status.st_mtime_ns:016x}"
    with contextlib.suppress(OSError):
        graph = cached.read_bytes()
        if graph[-SEAL_BYTES:] == _seal(memoryview(graph)[:-SEAL_BYTES], stamp):
            return str(cached)  # opened from its bytes, onnxruntime would keep those too
        logger.warning("e5.cache_rebuilt reason=damaged_or_other_weights file=%s", cached)
    # From the bytes that were verified, not from a file that may change in between.
    graph = encoder_graph(Weights(verified(weights)))
    graph += _seal(graph, stamp)
    try:
        _write_atomically(cached, graph)
    except OSError as error:  # a full or read-only disk costs half a second per start, not the classifier
        logger.warning("e5.cache_not_written file=%s error=%s", cached, error)
    return graph


def _seal(graph: bytes | memoryview, stamp: str) -> bytes:
    digest = hashlib.sha256(graph)
    digest.update(stamp.encode())
    return metadata("seal", stamp + digest.hexdigest())


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
