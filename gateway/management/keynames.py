"""How commands about keys are told which, and how long."""

import argparse
import re
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from gateway.models import ApiKey
from gateway.models.keys import SHOWN_CHARACTERS

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Return a duration such as 30m, 24h or 7d; raises ArgumentTypeError."""
    if text == "0":
        return timedelta(0)
    found = _DURATION.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"“{text}” is no duration such as 30m, 24h or 7d, and not 0")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def key_beginning(text: str) -> ApiKey:
    """Return the key whose text begins so, as lists of keys show it; raises CommandError.

    A whole key is taken too, as people have it at hand; it is not repeated.
    """
    start = text.strip().rstrip("…")[:SHOWN_CHARACTERS]
    found = list(ApiKey.objects.beginning(start)[:2])
    if not found:
        raise CommandError(f"No key begins with {start}. 'manage.py list_api_keys' shows how those there are begin.")
    if len(found) > 1:
        raise CommandError(f"More than one key begins with {start}. Choose the one you mean in admin.")
    return found[0]


def refused(error: ValidationError) -> CommandError:
    """Return what is wrong with a row, in the words of the command line."""
    lines = [
        f"{name.replace('_', ' ')}: {message}" for name, messages in error.message_dict.items() for message in messages
    ]
    return CommandError("\n".join(lines))
