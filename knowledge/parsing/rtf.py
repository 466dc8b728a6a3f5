"""Rich Text Format."""

import re

from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import broken
from knowledge.parsing.plain import write_plain
from knowledge.parsing.source import Source

_TITLE = re.compile(r"\{\\title ([^{}\\]{1,300})\}")


def read(source: Source, draft: Draft) -> None:
    """Write the text of an RTF file into ``draft``; raises ParseFailed."""
    from striprtf.striprtf import rtf_to_text

    markup = source.data.decode("latin-1")  # RTF is ASCII; other characters are escaped
    try:
        text = rtf_to_text(markup, errors="replace")
    except (ValueError, LookupError, IndexError, TypeError) as error:
        raise broken("an RTF file", detail=repr(error)) from error
    if title := _TITLE.search(markup):
        draft.title = title[1]
    # RTF ends a paragraph with one line's end, and knows no other.
    write_plain("\n\n".join(line for line in text.split("\n") if line.strip()), draft)
