"""A prompt as the classifier sees it. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from routing.classifier.lexicon import folded
from routing.classifier.reading import Reading, read
from routing.classifier.signs import vector
from routing.language import language_of

_TOKEN = re.compile(r"\w+|[^\w\s]")
LONGEST_BODY = 500
OPENING_WORDS = 6
CHARACTERS = (2, 3, 4, 5)
# What the embedder is given of an instruction: enough to tell what is wanted, and quick.
EMBEDDED_HEAD, EMBEDDED_TAIL = 220, 140


@dataclass(frozen=True, slots=True)
class Sample:
    """``words`` and ``characters`` are terms, with repetitions; ``signs`` numbers; ``text`` is for the embedder."""

    words: list[str]
    characters: list[str]
    signs: list[float]
    text: str


def sample(prompt: str, reading: Reading | None = None) -> Sample:
    """Return ``prompt`` as the classifier sees it; takes about a millisecond."""
    reading = read(prompt) if reading is None else reading
    material = reading.body or reading.tail
    languages = language_of(reading.head), language_of(material) if material else ""
    return Sample(
        words=list(_words(reading)),
        characters=list(_characters(reading)),
        signs=vector(prompt, reading, languages),
        text=embedded_text(reading),
    )


def embedded_text(reading: Reading) -> str:
    end = f" … {reading.tail[-EMBEDDED_TAIL:]}" if reading.tail else ""
    return " ".join(f"{reading.head[:EMBEDDED_HEAD]}{end}".split())


def _words(reading: Reading) -> Iterator[str]:
    """Yield words and pairs of the instruction, its opening and end once more, and the words of the material."""
    head = _TOKEN.findall(reading.head.casefold())
    tail = _TOKEN.findall(reading.tail.casefold())
    both = [*head, "|", *tail]
    yield from (f"w {word}" for word in both)
    yield from (f"w {one} {other}" for one, other in pairwise(both))
    yield from (f"h {word}" for word in head[:OPENING_WORDS])
    if head:
        yield f"0 {head[0]}"
        yield f"0 {' '.join(head[:2])}"
    yield from (f"t {word}" for word in tail)
    yield from (f"b {word}" for word in _TOKEN.findall(reading.body[:LONGEST_BODY].casefold()))


def _characters(reading: Reading) -> Iterator[str]:
    """Yield pieces of two to five characters of the instruction's words, their edges marked by a space."""
    for word in folded(reading.instruction).split():
        edged = f" {word} "
        for length in CHARACTERS:
            yield from (edged[at : at + length] for at in range(len(edged) - length + 1))
