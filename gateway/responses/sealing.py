"""Thinking that a client keeps for us without being able to read or change it: ``encrypted_content``."""

import base64
import functools
import zlib

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

LARGEST = 4 * 1024 * 1024
"""Bytes of thinking that are opened at most; what is sealed is small, what it unfolds to need not be."""


@functools.lru_cache(maxsize=2)
def _cipher(secret_key: str) -> Fernet:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"moe reasoning of responses")
    return Fernet(base64.urlsafe_b64encode(derive.derive(secret_key.encode())))


def sealed(text: str) -> str:
    """Return ``text`` as nobody but this installation can read it."""
    return _cipher(settings.SECRET_KEY).encrypt(zlib.compress(text.encode("utf-8", "surrogatepass"))).decode()


def opened(token: str) -> str | None:
    """Return what was sealed; None for what was not sealed here, or under another SECRET_KEY."""
    try:
        packed = _cipher(settings.SECRET_KEY).decrypt(token.encode("utf-8", "surrogatepass"))
    except InvalidToken:
        return None
    return zlib.decompressobj().decompress(packed, LARGEST).decode("utf-8", "surrogatepass")
