"""What a message or a tool's answer holds: texts, images and files, from their JSON. Pure.

Source: openai/openai-python, src/openai/types/responses/response_input_content.py and response_output_message.py.
"""

import base64
import binascii
import os.path
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.fields import invalid, unsupported
from gateway.turns import DATA_URI, read_image
from routing.backends.images import image_type
from routing.backends.protocol import Image, Json, Part, Text

KINDS = "input_text, input_image, input_file, output_text or refusal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file that a part names by its id."""

    name: str
    data: bytes


Attachments = Mapping[str, Attachment]


def named_in(items: Any) -> Iterator[str]:
    """Yield the ids of files in the parts of ``items``, which may be anything."""
    for item in items if isinstance(items, list | tuple) else ():
        for name in ("content", "output"):
            parts = item.get(name) if isinstance(item, dict) else None
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and isinstance(found := part.get("file_id"), str) and found:
                    yield found


def read_parts(content: Any, where: str, attachments: Attachments) -> tuple[Part, ...]:
    """Return the parts of ``content``, a text or a list; raises BadRequest about ``where``."""
    if isinstance(content, str):
        return (Text(text=content),)
    if not isinstance(content, list):
        raise invalid(where, f"'{where}' must be a text or a list of parts.")
    return tuple(_part(part, f"{where}[{number}]", attachments) for number, part in enumerate(content))


def _part(part: Any, where: str, attachments: Attachments) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        if kind == "input_audio":
            raise unsupported(where, f"'{where}' is audio, which no model here hears. Send what is said as text.")
        raise invalid(where, f"'{where}' must be a part of type {KINDS}.")
    return read(part, where, attachments)


def _text(part: Json, where: str, attachments: Attachments) -> Text:
    text = part.get("refusal") if part["type"] == "refusal" else part.get("text")
    if not isinstance(text, str):
        raise invalid(where, f"'{where}' must have a text.")
    return Text(text=text)


def _image(part: Json, where: str, attachments: Attachments) -> Image:
    detail = part.get("detail")
    detail = detail if isinstance(detail, str) else None
    if found := _attached(part, attachments):
        mime = image_type(found.data)
        if mime is None:
            raise invalid(where, f"The file of '{where}' is no PNG, JPEG, WebP or GIF image.")
        return Image(data=base64.b64encode(found.data).decode(), mime=mime, detail=detail)
    url = part.get("image_url")
    if not isinstance(url, str) or not url:
        raise invalid(where, f"'{where}' must have 'image_url', a data URI or an http(s) URL, or 'file_id'.")
    return read_image(url, detail, where, named="image_url")


def _file(part: Json, where: str, attachments: Attachments) -> Text:
    if found := _attached(part, attachments):
        return _told(found, where)
    if part.get("file_url"):
        raise unsupported(f"{where}.file_url", f"'{where}.file_url' is not supported. Send the file as 'file_data'.")
    data, name = part.get("file_data"), part.get("filename")
    if not isinstance(data, str) or not data:
        raise invalid(where, f"'{where}' must have 'file_data', in base64 or as a data URI, or 'file_id'.")
    return _told(Attachment(name=name if isinstance(name, str) else "", data=_decoded(data, where)), where)


def _attached(part: Json, attachments: Attachments) -> Attachment | None:
    name = part.get("file_id")
    return attachments.get(name) if isinstance(name, str) else None


def _decoded(data: str, where: str) -> bytes:
    found = DATA_URI.match(data)
    try:
        return base64.b64decode((found["data"] if found else data).strip(), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(where, f"'{where}.file_data' holds no valid base64.") from None


def _told(file: Attachment, where: str) -> Text:
    """Return a file of text as a model is shown it."""
    try:
        text = file.data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise unsupported(
            where,
            f"The file of '{where}' is no text in UTF-8, which is all that is read here. Send its text, or put it into "
            "a vector store (POST /v1/vector_stores) and have it searched with the tool 'file_search'.",
        )
    name = os.path.basename(file.name).replace('"', "'").strip() or "file"  # noqa: PTH119  # a name, of no file here
    return Text(text=f'<file name="{name}">\n{text}\n</file>\n')


_READERS: Mapping[str, Callable[[Json, str, Attachments], Part]] = {
    **dict.fromkeys(("input_text", "output_text", "text", "refusal"), _text),
    "input_image": _image,
    "input_file": _file,
}
