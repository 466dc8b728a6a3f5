"""Whether two questions that a model takes for similar ask the same. Pure.

Embeddings tell what a question is about, and see little of what turns its answer over: another year, a "not", another
name, "when" for "where". Measured on real questions (docs/caching.md), of those above any useful threshold most have
other answers. So two questions ask the same only if they have the same words, but for courtesies and words that say
nothing: a word more, or another in its place, is another question. What is refused here costs a model's time; what is
let through wrongly, a wrong answer.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

FEWEST_TO_MOVE = 4
"""Words of a question within which a part may stand at the other end."""

_WORD = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*")
_QUOTED = re.compile(r"[\"“”„«»‹›`]([^\"“”„«»‹›`]{1,200})[\"“”„«»‹›`]|(?<!\w)['‘]([^'’\n]{1,200})['’](?!\w)")
_SIGNS = re.compile(r"[+*/=<>%€$£¥°^|&\\~@#\[\]{}]|(?<!\w)-(?=\w)|(?<=\s)-(?=\s)|(?<=\d)-(?=\d)")
_ODD = re.compile(r"\S*(?:[^\W\d_]\d|\d[^\W\d_]|[a-z][A-Z]|_|://|\w[.]\w|\w@\w)\S*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts in which a word is not what stands between spaces."""
_COURTESIES = re.compile(
    r"^(?:hi|hello|hey|hallo|bonjour|hola)\b[ ,.!]*"
    r"|\b(?:can|could|would|will) you (?:please )?(?=(?:tell|show|give|explain|say)\b)"
    r"|(?:^|(?<=[.!?,] )|(?<=you )|(?<=please ))(?:tell|show|give) (?:me|us)\b|(?:^|(?<=please ))explain\b"
    r"|\bi (?:want|need|would like|'d like) to know\b"
    r"|\b(?:please|pls|kindly|thanks|thank you|bitte|danke|por favor|gracias|s['’]il (?:vous|te) pla[iî]t|svp|merci)\b"
    r"|\b(?:sag|sagen sie|zeig|zeigen sie|erklär) mir\b|\bdime\b|\bdis-moi\b"
    r"|(?<=\bhow) (?:can|could|do) (?:i|you|we|one)\b",
    re.IGNORECASE,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words that a question may have or not have without becoming another one.
_FILLERS = _set(
    "a an the is are am be been does do it its this that these those there of to i me my we us our you your "
    "der die das den dem des ein eine einen einem einer eines ist sind mir ich "
    "le la les l un une d est sont el los las una unos unas es son il lo gli uno o os um uma é são"
)
_PERSONS = dict.fromkeys(_set("i me my we us our mir ich"), "<1>") | dict.fromkeys(_set("you your"), "<2>")
_SIGNS_OF_PERSONS = frozenset(_PERSONS.values())
_ACRONYMS = _FILLERS | {"who", "and", "or", "not"}
"""Words that mean something else in capitals: IT, US, WHO."""
_SHORT = {"s": "is", "re": "are", "m": "am", "ll": "will", "ve": "have", "d": "would"}
_BEFORE_NOT = {"ca": "can", "wo": "will", "sha": "shall"}


@dataclass(frozen=True)
class _Read:
    """A question as it is compared."""

    text: str

    @cached_property
    def plain(self) -> str:
        normal = unicodedata.normalize("NFKC", self.text)
        return " ".join(_COURTESIES.sub(" ", " ".join(normal.split())).split())

    @cached_property
    def words(self) -> list[str]:
        words = (word.casefold().replace("’", "'") for word in _WORD.findall(self.plain))
        return [part for word in words for part in _apart(word)]

    @cached_property
    def content(self) -> list[str]:
        """The words that say what is asked, without a plural's s, in order."""
        directed = "from" in self.words  # where "to" says something
        return [_singular(word) for word in self.words if word not in _FILLERS or (directed and word == "to")]

    @cached_property
    def persons(self) -> list[str]:
        """The words with a sign for who asks and who is asked, empty where neither is spoken of."""
        words = [_PERSONS.get(word, word) for word in self.words]
        if not _SIGNS_OF_PERSONS & frozenset(words):
            return []
        return [_singular(word) for word in words if word not in _FILLERS]

    @cached_property
    def quoted(self) -> list[str]:
        return sorted((one or other).strip().casefold() for one, other in _QUOTED.findall(self.plain))

    @cached_property
    def signs(self) -> list[str]:
        """Operators and units, and what is no word: identifiers, versions, addresses."""
        odd = (word.casefold().strip("¿¡?!.,;:()'\"“”„`") for word in _ODD.findall(self.plain))
        return sorted([*_SIGNS.findall(self.plain), *odd])

    @cached_property
    def acronyms(self) -> frozenset[str]:
        return frozenset(
            word
            for word in _WORD.findall(self.plain)
            if len(word) > 1 and word.isupper() and word.casefold() in _ACRONYMS
        )


def _apart(word: str) -> Sequence[str]:
    """Return the words of a contraction: don't, can't, what's, l'homme."""
    if word == "cannot":
        return ("can", "not")
    if word.endswith("n't"):
        return (_BEFORE_NOT.get(word[:-3], word[:-3]), "not")
    first, apostrophe, rest = word.partition("'")
    return (first, _SHORT.get(rest, rest)) if apostrophe else (word,)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def difference(one: str, other: str) -> str:
    """Return what keeps two questions from asking the same, in a word; "" where they do as far as words tell."""
    first, second = _Read(one), _Read(other)
    return next((name for name, differ in _CHECKS.items() if differ(first, second)), "")


def _script(one: _Read, other: _Read) -> bool:
    return bool(_UNSPACED.search(one.plain + other.plain)) and one.plain != other.plain


def _persons(one: _Read, other: _Read) -> bool:
    """Tell whether "may I" stands against "may you"; one that speaks of neither may go with either."""
    return bool(one.persons) and bool(other.persons) and one.persons != other.persons


def _order(one: _Read, other: _Read) -> bool:
    """Tell whether words changed places, but for a part that moved to the other end: "In Python, how …"."""
    first, second = one.content, other.content
    if first == second:
        return False
    if len(first) < FEWEST_TO_MOVE:
        return True
    most = len(first) // 2
    return not any(
        second == [*first[place:], *first[:place]]
        for place in (*range(1, most + 1), *range(len(first) - most, len(first)))
    )


_CHECKS: Mapping[str, Callable[[_Read, _Read], bool]] = {
    "script": _script,
    "words": lambda one, other: sorted(one.content) != sorted(other.content),
    "order": _order,
    "persons": _persons,
    "quoted": lambda one, other: one.quoted != other.quoted,
    "signs": lambda one, other: one.signs != other.signs,
    "acronyms": lambda one, other: one.acronyms != other.acronyms,
}
