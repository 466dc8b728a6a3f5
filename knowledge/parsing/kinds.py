"""What a file is, by what is in it. Its name and declared type only tell text formats apart."""

import re
from enum import StrEnum

from knowledge.parsing.archive import Archive
from knowledge.parsing.code import language_of
from knowledge.parsing.encoding import decode
from knowledge.parsing.failure import ParseFailed, encrypted
from knowledge.parsing.signatures import OLE, refuse_known
from knowledge.parsing.source import Source

_OFFICE = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."


class Kind(StrEnum):
    """The formats that are read, as MIME types."""

    PDF = "application/pdf"
    DOCX = _OFFICE + "wordprocessingml.document"
    PPTX = _OFFICE + "presentationml.presentation"
    XLSX = _OFFICE + "spreadsheetml.sheet"
    XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
    XLS = "application/vnd.ms-excel"
    ODT = _ODF + "text"
    ODP = _ODF + "presentation"
    ODS = _ODF + "spreadsheet"
    EPUB = "application/epub+zip"
    RTF = "application/rtf"
    HTML = "text/html"
    XML = "application/xml"
    MARKDOWN = "text/markdown"
    CSV = "text/csv"
    TSV = "text/tab-separated-values"
    JSON = "application/json"
    JSONL = "application/jsonl"
    NOTEBOOK = "application/x-ipynb+json"
    MAIL = "message/rfc822"
    CODE = "text/x-source"
    PLAIN = "text/plain"


_SUFFIXES = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), Kind.MARKDOWN),
    ".csv": Kind.CSV,
    **dict.fromkeys((".tsv", ".tab"), Kind.TSV),
    **dict.fromkeys((".json", ".geojson", ".jsonld", ".webmanifest"), Kind.JSON),
    **dict.fromkeys((".jsonl", ".ndjson"), Kind.JSONL),
    ".ipynb": Kind.NOTEBOOK,
    **dict.fromkeys((".html", ".htm", ".xhtml", ".shtml"), Kind.HTML),
    **dict.fromkeys((".xml", ".svg", ".rss", ".atom", ".xsd", ".xsl", ".dita", ".tei", ".kml", ".gpx"), Kind.XML),
    **dict.fromkeys((".eml", ".mht", ".mhtml"), Kind.MAIL),
    **dict.fromkeys((".txt", ".text", ".log", ".rst", ".adoc", ".org", ".tex"), Kind.PLAIN),
}
_MIMES = {
    **{str(kind): kind for kind in Kind},
    "text/x-markdown": Kind.MARKDOWN,
    "application/csv": Kind.CSV,
    "application/x-ndjson": Kind.JSONL,
    "application/jsonlines": Kind.JSONL,
    "application/xhtml+xml": Kind.HTML,
    "text/xml": Kind.XML,
    "image/svg+xml": Kind.XML,
    "application/rss+xml": Kind.XML,
    "application/atom+xml": Kind.XML,
}
_TEXT_KINDS = frozenset(Kind) - {Kind.PDF, Kind.DOCX, Kind.PPTX, Kind.XLSX, Kind.XLSB, Kind.XLS, Kind.ODT, Kind.ODP,
                                 Kind.ODS, Kind.EPUB, Kind.RTF}  # fmt: skip
_HEAD = 4096
_PDF_START = re.compile(rb"%PDF-\d\.\d")
_HTML_START = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html\b|<head\b|<body\b)", re.I | re.S
)
_HTML_PARTS = re.compile(r"<(?:p|div|span|h[1-6]|table|ul|ol|a\s+href|br|section|article)\b[^<>]*>", re.I)
_XML_START = re.compile(r"\s*<(?:\?xml\b|!DOCTYPE\b|svg\b|rss\b|feed\b)")
_MAIL_HEADER = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]{1,40}:[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.M)
_MAIL_NAMES = re.compile(r"^(?:From|Received|Return-Path|MIME-Version|Message-ID|Delivered-To):", re.I | re.M)
_NOTEBOOK_PART = re.compile(r'"(?:nbformat|cells|worksheets)"\s*:')


def kind_of(source: Source) -> Kind:
    """Return what ``source`` is; raises ParseFailed for what is empty, encrypted or not read here."""
    data = source.data
    if not data.strip(b"\0\t\r\n\f\v "):
        raise ParseFailed("empty", "The file is empty. Check that it is the one you meant, and upload it again.")
    if data.startswith(b"%PDF-") or (_PDF_START.search(data[:1024]) and b"endobj" in data):
        return Kind.PDF  # readers take it with something else before it, and so do those who send it
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(data)
    if data.startswith(OLE):
        return _ole_kind(source)
    if data.startswith(b"{\\rtf"):
        return Kind.RTF
    refuse_known(data)
    return _text_kind(source, decode(data[: 16 * _HEAD] if _is_single_byte(data) else data, source.charset))


def _is_single_byte(data: bytes) -> bool:
    """Tell whether a piece of ``data`` decodes like all of it: it does not begin like a wider encoding."""
    return b"\0" not in data[:_HEAD]


# --- containers ----------------------------------------------------------------------------------------------


def _zip_kind(data: bytes) -> Kind:
    archive = Archive(data)
    declared = archive.read("mimetype")[:200].strip().decode("ascii", "replace")
    for kind in (Kind.EPUB, Kind.ODT, Kind.ODP, Kind.ODS):
        if declared in (kind, f"{kind}-template"):
            return kind
    names = frozenset(name.lower() for name in archive.names)
    if "[content_types].xml" in names:
        for part, kind in (
            ("word/document", Kind.DOCX),
            ("ppt/presentation", Kind.PPTX),
            ("xl/workbook.bin", Kind.XLSB),
            ("xl/workbook", Kind.XLSX),
        ):
            if any(name.startswith(part) for name in names):
                return kind
        return _zip_by_types(archive)
    if "meta-inf/container.xml" in names:
        return Kind.EPUB
    raise _not_opened()


def _zip_by_types(archive: Archive) -> Kind:
    """Find the kind of an Office file whose parts are called otherwise than Office calls them."""
    types = archive.read("[Content_Types].xml")
    for mark, kind in ((b"wordprocessingml", Kind.DOCX), (b"presentationml", Kind.PPTX), (b"spreadsheetml", Kind.XLSX)):
        if mark in types:
            return kind
    raise _not_opened()


def _not_opened() -> ParseFailed:
    return ParseFailed(
        "unsupported", "The file is an archive, which is not opened. Unpack it and upload the documents that are in it."
    )


# Names of streams in Microsoft's older container, as its directory has them.
_STREAMS = {
    "EncryptedPackage": "encrypted",
    "WordDocument": ".doc",
    "PowerPoint Document": ".ppt",
    "Workbook": ".xls",
    "Book": ".xls",
    "__substg1.0_": ".msg",
    "VisioDocument": ".vsd",
}
_MODERN = {".doc": "DOCX (or PDF)", ".ppt": "PPTX (or PDF)", ".msg": "EML (or PDF)", ".vsd": "PDF"}


def _ole_kind(source: Source) -> Kind:
    found = [kind for name, kind in _STREAMS.items() if name.encode("utf-16-le") in source.data]
    if "encrypted" in found:
        raise encrypted("The document")
    # Documents may be embedded in each other; then the name tells which is the outer one.
    kind = source.suffix if source.suffix in found else next(iter(found), "")
    if kind == ".xls":
        return Kind.XLS
    if kind:
        raise ParseFailed(
            "unsupported",
            f"The file is in an old format of Microsoft Office ({kind}) that is not read. Save it as {_MODERN[kind]} "
            "and upload that.",
        )
    raise ParseFailed(
        "unsupported", "The file is in an old format of Microsoft Office. Save it as PDF and upload that."
    )


# --- texts ---------------------------------------------------------------------------------------------------


def _text_kind(source: Source, text: str) -> Kind:
    head = text[:_HEAD]
    hint = _hinted(source)
    language = language_of(source, head)
    if _HTML_START.match(head) and hint is not Kind.MARKDOWN and (not language or hint is Kind.HTML):
        return Kind.HTML
    if _is_notebook(hint, text):
        return Kind.NOTEBOOK
    if language and hint is None:
        return Kind.CODE
    if hint is not None and hint is not Kind.PLAIN:
        return Kind.JSON if hint is Kind.NOTEBOOK else hint
    return _kind_of_unnamed(source, text, head)


def _hinted(source: Source) -> Kind | None:
    """Return what the name says, else the declared type; None when neither says anything of a text."""
    if found := _SUFFIXES.get(source.suffix):
        return found
    if language_of(source):
        return None
    found = _MIMES.get(source.media_type)
    return found if found in _TEXT_KINDS else None


def _is_notebook(hint: Kind | None, text: str) -> bool:
    if hint not in (Kind.NOTEBOOK, Kind.JSON, Kind.PLAIN, None) or text.lstrip()[:1] != "{":
        return False
    return len(set(_NOTEBOOK_PART.findall(text))) >= 2 or hint is Kind.NOTEBOOK


def _kind_of_unnamed(source: Source, text: str, head: str) -> Kind:
    """Return the kind of a text whose name tells nothing, or only that it is a text."""
    if _XML_START.match(head):
        return Kind.XML
    if len(_HTML_PARTS.findall(head)) >= 3 and head.lstrip().startswith("<"):
        return Kind.HTML
    header = _MAIL_HEADER.match(head.replace("\r\n", "\n"))
    if header and len(_MAIL_NAMES.findall(header[0])) >= 2:
        return Kind.MAIL
    if head.lstrip()[:1] in ("{", "[") and _is_json(source):
        return Kind.JSON
    return Kind.PLAIN


def _is_json(source: Source) -> bool:
    from orjson import JSONDecodeError, loads

    try:
        loads(decode(source.data, source.charset))
    except (JSONDecodeError, UnicodeEncodeError):
        return False
    return True
