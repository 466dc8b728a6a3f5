"""From the bytes of a file to its blocks."""

import traceback
from collections.abc import Callable

from knowledge.blocks import Parsed
from knowledge.parsing import (
    code,
    delimited,
    docx,
    epub,
    html,
    jsontext,
    mail,
    markdown,
    notebook,
    odf,
    pdf,
    plain,
    pptx,
    rtf,
    scans,
    sheets,
    xmltext,
)
from knowledge.parsing.draft import Draft
from knowledge.parsing.failure import ParseFailed, broken, out_of_memory
from knowledge.parsing.kinds import Kind, kind_of
from knowledge.parsing.source import Source

READERS: dict[Kind, Callable[[Source, Draft], None]] = {
    Kind.PDF: pdf.read,
    Kind.DOCX: docx.read,
    Kind.PPTX: pptx.read,
    Kind.XLSX: sheets.read,
    Kind.XLSB: sheets.read,
    Kind.XLS: sheets.read,
    Kind.ODS: sheets.read,
    Kind.ODT: odf.read,
    Kind.ODP: odf.read,
    Kind.EPUB: epub.read,
    Kind.RTF: rtf.read,
    Kind.HTML: html.read,
    Kind.XML: xmltext.read,
    Kind.MARKDOWN: markdown.read,
    Kind.CSV: delimited.read,
    Kind.TSV: delimited.read,
    Kind.JSON: jsontext.read,
    Kind.JSONL: jsontext.read,
    Kind.NOTEBOOK: notebook.read,
    Kind.MAIL: mail.read,
    Kind.CODE: code.read,
    Kind.PLAIN: plain.read,
}


def parse(data: bytes, *, name: str, mime: str = "", ocr: bool = False) -> Parsed:
    """Return the file ``data`` as blocks, read in this process and without limits of time and memory.

    ``name`` and ``mime`` are hints; what the file is shows its content. ``ocr`` has scanned PDFs read by docling.
    Raises ParseFailed, and nothing else; but a hostile file may end the process, so give what strangers upload to
    ``Parsers``.
    """
    source = Source(data=data, name=name, mime=mime)
    try:
        kind = kind_of(source)
        draft = _read(source, kind, ocr=ocr)
        return draft.finish(stem=source.stem, mime=str(kind))
    except ParseFailed:
        raise
    except MemoryError as error:
        raise out_of_memory() from error
    except RecursionError as error:
        raise ParseFailed(
            "broken", "The document nests too deeply to be read. Save it as PDF or plain text and upload that."
        ) from error
    except Exception as error:  # libraries meet files that nobody thought of, and each says so in its own way
        raise broken("a known format", detail=_where(error)) from error


def _read(source: Source, kind: Kind, *, ocr: bool) -> Draft:
    draft = Draft()
    try:
        READERS[kind](source, draft)
    except ParseFailed as failure:
        if failure.code != "scanned" or not ocr:
            raise
        draft = Draft()
        scans.read(source, draft)
    return draft


def _where(error: Exception) -> str:
    """Return what was raised and where, without the message: it may quote the document."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}, {last.filename.rpartition('/')[2]}:{last.lineno}"
