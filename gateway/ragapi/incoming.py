"""What a client sends to be ingested, from its JSON or its form; without a database."""

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler
from django.core.validators import slug_re
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from gateway.errors import UnsupportedMediaType
from gateway.fields import Fields, invalid, json_object
from gateway.ragapi.metadata import checked_metadata
from gateway.ragapi.serializers import checked_language, checked_text
from knowledge.models import Document
from knowledge.receiving import LONGEST_SOURCE, Incoming
from routing.backends import codec
from routing.exceptions import BadRequest

DEFAULT_COLLECTION = "default"
MOST_DOCUMENTS, MOST_URLS = 1000, 1000
USUAL_WAIT, LONGEST_WAIT = 30.0, 300.0
"""Seconds until documents that came inside the request are reported as they are then."""
LONGEST_URL, LONGEST_NAME, LONGEST_TITLE, LONGEST_MIME, LONGEST_SLUG = 2000, 500, 500, 150, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A document and the collection it goes into; ``place`` is where it stood, such as documents[3]."""

    place: str
    collection: str
    incoming: Incoming


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestRequest:
    """``wait`` is how many seconds to wait until everything is ready; ``ignored`` what nobody reads."""

    collection: str = DEFAULT_COLLECTION
    items: tuple[Item, ...] = ()
    urls: tuple[str, ...] = ()
    sitemap: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    wait: float = 0.0
    ignored: tuple[str, ...] = ()


def parse_ingest(body: bytes, content_type: str) -> IngestRequest:
    """Read a request; raises BadRequest and UnsupportedMediaType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _from_form(body, content_type)
    if kind in ("", "application/json"):
        return _from_json(body)
    raise UnsupportedMediaType(
        "Send documents as JSON (Content-Type: application/json), or files as a form (multipart/form-data)."
    )


# --- JSON -------------------------------------------------------------------------------------------------------


def _from_json(body: bytes) -> IngestRequest:
    fields = Fields(json_object(body))
    shared = _Shared(fields)
    documents = fields.array("documents") or []
    if len(documents) > MOST_DOCUMENTS:
        raise invalid("documents", f"'documents' holds {len(documents):,}; {MOST_DOCUMENTS:,} are the most at once.")
    ignored: dict[str, None] = {}
    items = tuple(_item(one, place, shared, ignored) for place, one in enumerate(documents))
    urls, sitemap = _urls(fields), fields.text("sitemap") or ""
    if not items and not urls and not sitemap:
        raise invalid(
            "documents",
            "There is nothing to ingest. Send 'documents' (a list of objects with 'content'), 'urls' or a 'sitemap', "
            "or files as a form (multipart/form-data).",
        )
    _check_sources(items)
    wait = _wait(fields.raw("wait"))
    return IngestRequest(
        collection=shared.collection,
        items=items,
        urls=urls,
        sitemap=_url(sitemap, "sitemap") if sitemap else "",
        metadata=shared.metadata,
        wait=wait if wait is not None else (0.0 if urls or sitemap else USUAL_WAIT),
        ignored=(*fields.unseen(), *ignored),
    )


class _Shared:
    """What holds for every document that does not say otherwise."""

    def __init__(self, fields: Fields) -> None:
        self.collection = _slug(fields.text("collection") or DEFAULT_COLLECTION)
        metadata = fields.raw("metadata")
        self.metadata = checked_metadata(metadata, "metadata") if metadata is not None else {}
        self.language = checked_language(fields.text("language") or "", "language")


def _item(value: Any, number: int, shared: _Shared, ignored: dict[str, None]) -> Item:
    place = f"documents[{number}]"
    if not isinstance(value, dict):
        raise invalid(place, f"'{place}' must be an object with 'content'.")
    fields = Fields(value)
    with _inside(place):
        collection = fields.text("collection")
        incoming = _incoming(fields, shared)
        collection = _slug(collection) if collection else shared.collection
    ignored.update(dict.fromkeys(f"documents.{name}" for name in fields.unseen()))
    return Item(place=place, collection=collection, incoming=incoming)


def _incoming(fields: Fields, shared: _Shared) -> Incoming:
    content, encoded = fields.text("content"), fields.text("content_base64")
    if (content is None) is (encoded is None):
        raise invalid("content", "Send either 'content' (a text) or 'content_base64' (a file's bytes).")
    data = _decoded(encoded) if content is None else content.encode("utf-8", "replace")
    if not data.strip():
        raise invalid("content", "'content' is empty. Leave the document out, or send its text.")
    name = _text(fields, "name", LONGEST_NAME)
    mime = _text(fields, "mime", LONGEST_MIME)
    metadata = fields.raw("metadata")
    is_text = content is not None
    kind = "text" if is_text else "file"
    return Incoming(
        source=_text(fields, "source", LONGEST_SOURCE)
        or (name if not is_text else "")
        or f"{kind}:{hashlib.sha256(data).hexdigest()[:32]}",
        name=name or ("text.txt" if is_text else "file"),
        data=data,
        mime=mime or ("text/plain" if is_text and not name else ""),
        title=_text(fields, "title", LONGEST_TITLE),
        url=_url(url, "url") if (url := _text(fields, "url", LONGEST_URL)) else "",
        language=checked_language(fields.text("language") or "", "language") or shared.language,
        metadata={**shared.metadata, **(checked_metadata(metadata, "metadata") if metadata is not None else {})},
        origin=Document.Origin.TEXT if is_text else Document.Origin.UPLOAD,
    )


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("content_base64", f"'content_base64' is not valid base64: {error}") from error


def _urls(fields: Fields) -> tuple[str, ...]:
    urls = fields.array("urls") or []
    if len(urls) > MOST_URLS:
        raise invalid("urls", f"'urls' holds {len(urls):,}; {MOST_URLS:,} are the most at once.")
    return tuple(dict.fromkeys(_url(url, f"urls[{number}]") for number, url in enumerate(urls)))


# --- forms ------------------------------------------------------------------------------------------------------


def _from_form(body: bytes, content_type: str) -> IngestRequest:
    texts, files = _parts(body, content_type)
    fields = Fields(texts)
    shared = _Shared(fields)
    title, url = _text(fields, "title", LONGEST_TITLE), _text(fields, "url", LONGEST_URL)
    source = _text(fields, "source", LONGEST_SOURCE)
    if not files:
        raise invalid("file", "The form holds no file. Send one or several as 'file'.")
    if len(files) > 1 and (given := next((name for name in ("title", "url", "source") if texts.get(name)), None)):
        raise invalid(given, f"'{given}' can be said of one file only. Send the {len(files)} files one at a time.")
    wait = _wait(fields.raw("wait"))
    items = tuple(
        Item(
            place=file.place,
            collection=shared.collection,
            incoming=Incoming(
                source=source or file.name,
                name=file.name,
                data=file.data,
                mime=checked_text(file.mime, file.place, LONGEST_MIME),
                title=title,
                url=_url(url, "url") if url else "",
                language=shared.language,
                metadata=shared.metadata,
            ),
        )
        for file in files
    )
    _check_sources(items)
    return IngestRequest(
        collection=shared.collection,
        items=items,
        metadata=shared.metadata,
        wait=wait or 0.0,
        ignored=(*fields.unseen(),),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    place: str
    name: str
    mime: str
    data: bytes


def _parts(body: bytes, content_type: str) -> tuple[dict[str, Any], list[_File]]:
    """Return a form's texts and files; the last of several texts of one name counts."""
    environment = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": len(body)}
    handlers = [MemoryFileUploadHandler(), TemporaryFileUploadHandler()]
    try:
        posted, uploads = MultiPartParser(environment, io.BytesIO(body), handlers, "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise BadRequest(f"The form cannot be read: {error}") from error
    texts: dict[str, Any] = {name: value for name, value in posted.items() if value != ""}
    if "metadata" in texts:
        texts["metadata"] = _metadata(texts["metadata"])
    files = [
        _File(place=name, name=_named(upload.name, name), mime=upload.content_type or "", data=upload.read())
        for name in ("file", "files")
        for upload in uploads.getlist(name)
    ]
    if strange := next((name for name in uploads if name not in ("file", "files")), None):
        raise invalid(strange, f"Send files as 'file', not as '{strange[:100]}'.")
    return texts, files


def _metadata(text: str) -> Any:
    try:
        return codec.loads(text)
    except ValueError as error:
        raise invalid("metadata", f"'metadata' must be an object as JSON, and is no JSON: {error}") from error


def _named(name: str | None, place: str) -> str:
    if not name:
        raise invalid(place, f"A file in '{place}' has no name. Send it with the name it has.")
    return checked_text(name, place, LONGEST_NAME)


# --- values -----------------------------------------------------------------------------------------------------


@contextmanager
def _inside(place: str) -> Iterator[None]:
    """Let errors name where in the request their parameter is."""
    try:
        yield
    except BadRequest as error:
        where = f"{place}.{error.param}" if error.param else place
        raise BadRequest(f"{place}: {error.message}", param=where, code=error.code) from error


def _text(fields: Fields, name: str, longest: int) -> str:
    return checked_text(fields.text(name) or "", name, longest)


def _slug(text: str) -> str:
    if len(text) > LONGEST_SLUG or not slug_re.match(text):
        raise invalid(
            "collection",
            f"'collection' must be a name of letters, digits, hyphens and underscores, at most {LONGEST_SLUG}.",
        )
    return text


def _url(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.lower().startswith(("http://", "https://")):
        raise invalid(where, f"'{where}' must be an address that begins with http:// or https://.")
    return checked_text(value, where, LONGEST_URL)


def _wait(value: Any) -> float | None:
    """Return for how many seconds to wait; true is as long as usual, None: nothing is said."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
        try:
            value = value if isinstance(value, bool) else float(value)
        except ValueError:
            value = -1
    if value is None:
        return None
    if isinstance(value, bool):
        return USUAL_WAIT if value else 0.0
    if not isinstance(value, int | float) or not 0 <= value <= LONGEST_WAIT:
        raise invalid("wait", f"'wait' must be true, false or a number of seconds from 0 to {LONGEST_WAIT:g}.")
    return float(value)


def _check_sources(items: Sequence[Item]) -> None:
    """Refuse two contents under one source: nobody could say which of them is meant to stay."""
    known: dict[tuple[str, str], Item] = {}
    for item in items:
        first = known.setdefault((item.collection, item.incoming.source), item)
        if first.incoming.data != item.incoming.data:
            raise invalid(
                f"{item.place}.source" if item.place.startswith("documents") else item.place,
                f"'{item.incoming.source[:200]}' is in the request twice, with different contents. Give each its own "
                "'source', or leave one out.",
            )
