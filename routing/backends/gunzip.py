"""Unpacking gzip, and what else strangers pack with, within limits. Pure."""

import zlib
from collections.abc import Callable
from typing import Protocol

PIECE = 64 * 1024
MOST_MEMBERS = 1024
"""How many packed files may follow each other in one: each costs a decompressor, however little it holds."""


class Damaged(ValueError):
    """It is not packed so, or it is damaged or cut off."""


class TooMuch(ValueError):
    """It would become larger than was asked for."""


class Decompressor(Protocol):
    """What zlib, and the decompressors of the standard library that are like it, have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def gunzip(content: bytes, *, most: int) -> bytes:
    """Return what ``content``, of one gzip file or several, holds: at most ``most`` bytes.

    Raises Damaged and TooMuch.
    """
    return unpack(content, "gzip", lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), zlib.error, most=most)


def unpack(content: bytes, form: str, new: Callable[[], Decompressor], failure: type[Exception], *, most: int) -> bytes:
    """Return what ``content`` holds, of at most ``most`` bytes; no more than that is ever unpacked.

    ``form`` is what it is to be. ``new`` makes what unpacks one of the files that may follow each other in it, and that
    raises ``failure`` where it cannot. Raises Damaged and TooMuch.
    """
    unpacked = bytearray()
    at, members, whole = 0, 0, False
    member = new()
    while at < len(content):
        if whole:
            member, members = new(), members + 1
        if members == MOST_MEMBERS:
            raise Damaged(f"it has more than {MOST_MEMBERS} parts")
        piece = content[at : at + PIECE]
        try:
            unpacked += member.decompress(piece, most + 1 - len(unpacked))
        except failure as error:
            raise Damaged(f"it is no {form}, or damaged") from error
        if len(unpacked) > most:
            raise TooMuch(f"unpacked it is larger than {most:,} bytes")
        at += len(piece) - len(member.unused_data)
        whole = member.eof
    if not whole:
        raise Damaged("it is cut off")
    return bytes(unpacked)
