"""Codes of authenticator apps (RFC 6238) and the codes that replace a lost one. Pure but for SECRET_KEY.

The database holds no secret of them: a seed is made of what is stored and of SECRET_KEY, and of a recovery code a keyed
digest is stored. So whoever has a copy of the database can make no codes; and a changed SECRET_KEY ends them all.
"""

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote, urlencode

from django.conf import settings
from django_otp.oath import hotp

STEP_SECONDS = 30
DIGITS = 6
TOLERANCE = 1
"""Steps by which a phone's clock may be wrong, either way."""
ISSUER = "Mixture of experts"
RECOVERY_CODES = 10
RECOVERY_BYTES = 10


def seed_of(stored: str) -> bytes:
    """Return the 20 bytes an authenticator app and we share, of what is stored (hexadecimal)."""
    return _keyed(b"moe authenticator seed", bytes.fromhex(stored))[:20]


def seed_text(stored: str) -> str:
    """Return the seed as people type it into an app that has no camera."""
    return base64.b32encode(seed_of(stored)).decode()


def enrolment_url(stored: str, *, account: str) -> str:
    """Return what the QR code says (the Key URI format that authenticator apps agree on)."""
    label = quote(f"{ISSUER}:{account.replace(':', ' ')}")
    query = urlencode(
        {"secret": seed_text(stored), "issuer": ISSUER, "digits": DIGITS, "period": STEP_SECONDS}, quote_via=quote
    )
    return f"otpauth://totp/{label}?{query}"


def step_of(code: str, stored: str, *, now: float, after: int) -> int | None:
    """Return the time step that ``code`` is for, or None if it is for none that counts.

    ``now`` is the time in seconds; ``after`` the step of the last code used, since each may be used once.
    """
    digits = "".join(code.split())
    if len(digits) != DIGITS or not digits.isascii() or not digits.isdigit():
        return None
    seed, current = seed_of(stored), int(now) // STEP_SECONDS
    for step in range(current - TOLERANCE, current + TOLERANCE + 1):
        if step > after and hmac.compare_digest(f"{hotp(seed, step, DIGITS):0{DIGITS}d}", digits):
            return step
    return None


def recovery_codes() -> list[str]:
    """Return new codes of 80 bits each, to be written down."""
    return [_grouped(base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode()) for _ in range(RECOVERY_CODES)]


def recovery_digest(code: str) -> str:
    """Return what is stored of a recovery code, 16 characters, however it is written."""
    plain = "".join(character for character in code.upper() if character.isalnum())
    return base64.b32encode(_keyed(b"moe recovery code", plain.encode())[:RECOVERY_BYTES]).decode()


def _grouped(text: str) -> str:
    return "-".join(text[place : place + 4] for place in range(0, len(text), 4)).lower()


def _keyed(purpose: bytes, value: bytes) -> bytes:
    key = hmac.digest(settings.SECRET_KEY.encode(), purpose, hashlib.sha256)
    return hmac.digest(key, value, hashlib.sha256)
