"""Files of whatever kind as blocks of text: ``parse`` here and now, ``Parsers`` in a process of their own."""

from knowledge.parsing.failure import ParseFailed
from knowledge.parsing.pool import Parsers, shared_parsers
from knowledge.parsing.reading import parse

__all__ = ["ParseFailed", "Parsers", "parse", "shared_parsers"]
