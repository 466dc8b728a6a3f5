"""What passes between a process and its parser child: frames of bytes, answers as JSON. Pure.

Never pickle: the child reads files of strangers, and what comes out of it is believed no more than they are.
"""

import json
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from knowledge.blocks import Block, BlockKind, Parsed
from knowledge.parsing.failure import ParseFailed

REQUEST = struct.Struct(">IQ")  # lengths of what is said about the document, and of the document
ANSWER = struct.Struct(">Q")
LARGEST_ANSWER = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A document to parse."""

    data: bytes
    name: str
    mime: str


def request_head(data: bytes, *, name: str, mime: str) -> bytes:
    """Return what goes before ``data`` to ask for it to be parsed."""
    about = json.dumps({"name": name, "mime": mime}).encode()  # not orjson: a name may hold lone surrogates
    return REQUEST.pack(len(about), len(data)) + about


def read_request(header: bytes, stream: BinaryIO) -> Request:
    """Return the request that begins with ``header``, the rest of it from ``stream``."""
    about_size, size = REQUEST.unpack(header)
    about = json.loads(stream.read(about_size))
    return Request(data=stream.read(size), name=about["name"], mime=about["mime"])


def answer(result: Parsed | ParseFailed, *, memory: int) -> bytes:
    """Return the frame that answers with ``result`` and the bytes of memory the child holds."""
    if isinstance(result, ParseFailed):
        body: dict[str, Any] = {"code": result.code, "message": result.message, "detail": result.detail}
    else:
        body = {
            "title": result.title,
            "mime": result.mime,
            "language": result.language,
            "metadata": result.metadata,
            "warnings": result.warnings,
            "blocks": [
                [block.kind, block.text, block.level, block.page, block.header, block.language]
                for block in result.blocks
            ],
        }
    payload = orjson.dumps(body | {"memory": memory})
    return ANSWER.pack(len(payload)) + payload


def read_answer(payload: bytes) -> tuple[Parsed | ParseFailed, int]:
    """Return what an answer says and the child's memory; raises ValueError for what is no answer."""
    try:
        body = orjson.loads(payload)
        memory = int(body["memory"])
        if "code" in body:
            return ParseFailed(str(body["code"]), str(body["message"]), detail=str(body["detail"])), memory
        parsed = Parsed(
            title=str(body["title"]),
            mime=str(body["mime"]),
            language=str(body["language"]),
            metadata=dict(body["metadata"]),
            warnings=tuple(map(str, body["warnings"])),
            blocks=tuple(map(_block, body["blocks"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("the parser's answer is none") from error
    return parsed, memory


def _block(fields: list[Any]) -> Block:
    kind, text, level, page, header, language = fields
    return Block(
        kind=BlockKind(kind),
        text=str(text),
        level=int(level),
        page=None if page is None else int(page),
        header=str(header),
        language=str(language),
    )
