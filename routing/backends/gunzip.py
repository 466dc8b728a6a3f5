"""Unpacking gzip of strangers. Pure."""

import zlib

PIECE = 64 * 1024
MOST_MEMBERS = 1024
"""How many gzip files may follow each other in one: each costs a decompressor, however little it holds."""


class NotGzip(ValueError):
    """It is no gzip, or it is damaged or cut off."""


class TooMuch(ValueError):
    """It would become larger than was asked for."""


def gunzip(content: bytes, *, most: int) -> bytes:
    """Return what ``content`` holds, of at most ``most`` bytes; no more than that is ever unpacked.

    Raises NotGzip and TooMuch.
    """
    unpacked = bytearray()
    at, members, whole = 0, 0, False
    member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    while at < len(content):
        if whole:
            member, members = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), members + 1
        if members == MOST_MEMBERS:
            raise NotGzip(f"it has more than {MOST_MEMBERS} parts")
        piece = content[at : at + PIECE]
        try:
            unpacked += member.decompress(piece, most + 1 - len(unpacked))
        except zlib.error as error:
            raise NotGzip("it is no gzip, or damaged") from error
        if len(unpacked) > most:
            raise TooMuch(f"unpacked it is larger than {most:,} bytes")
        at += len(piece) - len(member.unused_data)
        whole = member.eof
    if not whole:
        raise NotGzip("it is cut off")
    return bytes(unpacked)
