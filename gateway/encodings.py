"""What bodies of requests may be packed with (Content-Encoding, RFC 9110), and unpacking them. Pure."""

import sys
import zlib

from gateway.errors import BodyTooLarge, UnsupportedEncoding
from routing.backends.gunzip import Damaged, TooMuch, gunzip, unpack
from routing.exceptions import BadRequest

ENCODINGS = ("gzip", "deflate", "zstd")
"""Brotli is not among them: no client that was seen packs requests with it."""
WINDOW_LOG = 23
"""The window of zstd that RFC 9659 has everybody read, 8 MiB: a larger one costs memory before anything is unpacked."""


def encoding_of(value: str) -> str:
    """Return what a Content-Encoding says a body is packed with, "" for one that is not; raises UnsupportedEncoding."""
    encoding = value.strip().lower()
    if encoding in ("", "identity"):
        return ""
    encoding = {"x-gzip": "gzip"}.get(encoding, encoding)
    if encoding not in ENCODINGS:
        raise UnsupportedEncoding(value, ENCODINGS)
    return encoding


def unpacked(body: bytes, encoding: str, *, most: int) -> bytes:
    """Return ``body`` without its ``encoding``, one of ENCODINGS; no more than ``most`` bytes are ever unpacked.

    Raises BadRequest and BodyTooLarge.
    """
    unpacker = {"gzip": gunzip, "deflate": _inflated, "zstd": _unzstd}[encoding]
    try:
        return unpacker(body, most=most)
    except TooMuch:
        raise BodyTooLarge from None
    except Damaged as error:
        raise BadRequest(
            f"The body cannot be unpacked as 'Content-Encoding: {encoding}' says: {error}. Send it as it is packed, or "
            "unpacked and without that header."
        ) from None


def _inflated(body: bytes, *, most: int) -> bytes:
    # "deflate" is zlib's format. Some clients leave out its two bytes in front, whose check all others pass.
    has_header = len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0
    wbits = zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
    return unpack(body, "deflate", lambda: zlib.decompressobj(wbits=wbits), zlib.error, most=most)


def _unzstd(body: bytes, *, most: int) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return unpack(body, "zstd", lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError, most=most)
