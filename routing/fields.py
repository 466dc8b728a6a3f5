"""A text column encrypted with a key derived from SECRET_KEY."""

import base64
import functools
import logging
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

logger = logging.getLogger(__name__)

TOKEN = "gAAAAA"  # noqa: S105  # how every Fernet token of this century begins


@functools.lru_cache(maxsize=2)
def _cipher(secret_key: str) -> Fernet:
    derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"moe stored secrets")
    return Fernet(base64.urlsafe_b64encode(derive.derive(secret_key.encode())))


def is_readable(token: str) -> bool:
    """Tell whether what is stored can be read with the SECRET_KEY of now."""
    try:
        _cipher(settings.SECRET_KEY).decrypt(token.encode())
    except InvalidToken:
        return False
    return True


class EncryptedTextField(models.TextField):
    """Text that is readable in Python and a token in the database.

    A value that cannot be read any more (SECRET_KEY was changed) comes back empty, with an error in the log:
    the row stays usable and the administrator enters the secret again.
    """

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return _cipher(settings.SECRET_KEY).encrypt(value.encode()).decode() if value else value

    def from_db_value(self, value: str | None, *_: Any) -> str | None:
        return _read(value) if value else value

    def value_to_string(self, obj: models.Model) -> str:
        """Return what `dumpdata` writes: the token, for whoever finds the file."""
        return str(self.get_prep_value(self.value_from_object(obj)) or "")

    def to_python(self, value: Any) -> Any:
        # What `loaddata` brings is a token; what forms bring begins otherwise.
        return _read(value) if isinstance(value, str) and value.startswith(TOKEN) else super().to_python(value)


def _read(token: str) -> str:
    try:
        return _cipher(settings.SECRET_KEY).decrypt(token.encode()).decode()
    except InvalidToken:
        logger.error("a stored secret cannot be read: SECRET_KEY was changed; enter the secret again in admin")
        return ""
