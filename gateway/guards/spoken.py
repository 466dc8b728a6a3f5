"""The language of a text, where only some are permitted. Pure."""

from dataclasses import dataclass

from routing.classifier.reading import read
from routing.language import LONGEST, language_of

ENOUGH = LONGEST
"""Characters of an answer that tell its language."""
FEWEST = 20
"""Characters below which no language is told: a name or a greeting is of any."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Finds a language that is not among ``permitted``, which are ISO 639-1 codes; what cannot be told is permitted."""

    permitted: frozenset[str]

    def asked(self, text: str) -> tuple[str, ...]:
        """Return the language in which a message asks, whatever is quoted in it, if it is not permitted."""
        return self.of(read(text).instruction)

    def of(self, text: str) -> tuple[str, ...]:
        language = language_of(text) if len(text.strip()) >= FEWEST else ""
        return (language,) if language and language not in self.permitted else ()
