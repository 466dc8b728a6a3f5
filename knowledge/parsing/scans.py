"""Scanned PDFs by docling (MIT), an optional extra: large models, fetched when first used, about a page a second.

Nothing of it is installed with this project, and its models cannot be part of the project's tests: what is tested is
that it is asked where it is wanted, and missed in words where it is not there.
"""

import importlib.util
import io

from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import ParseFailed, broken
from knowledge.parsing.markdown import write_markdown
from knowledge.parsing.source import Source

PAGE_BREAK = "<!-- page break -->"


def is_installed() -> bool:
    return importlib.util.find_spec("docling") is not None


def read(source: Source, draft: Draft) -> None:
    """Write what OCR reads in a scanned PDF into ``draft``, by pages; raises ParseFailed."""
    if not is_installed():
        raise ParseFailed(
            "scanned", "The PDF is scanned, and OCR was asked for but is not installed: pip install docling."
        )
    from docling.datamodel.base_models import DocumentStream
    from docling.document_converter import DocumentConverter

    try:
        stream = DocumentStream(name="document.pdf", stream=io.BytesIO(source.data))
        text = DocumentConverter().convert(stream).document.export_to_markdown(page_break_placeholder=PAGE_BREAK)
    except (RuntimeError, ValueError, OSError) as error:  # docling's own errors are RuntimeErrors
        raise broken("a scanned PDF", detail=repr(error)) from error
    draft.warn("The text was read from pictures by OCR and may hold mistakes.")
    for number, page in enumerate(text.split(PAGE_BREAK), start=1):
        draft.page = number
        write_markdown(page, draft)
