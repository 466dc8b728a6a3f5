import argparse
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from gateway.keyring.wording import fitting_nothing
from gateway.management.keynames import refused
from gateway.models import ApiKey, Priority
from gateway.policy import Scope

LONGEST_DAYS = 36_500
AMOUNTS: Mapping[str, tuple[str, str]] = {
    "rpm": ("requests_per_minute", "requests a minute"),
    "tpm": ("tokens_per_minute", "tokens a minute, read and written together"),
    "concurrent": ("concurrent_requests", "requests that are answered at the same time"),
    "tokens-per-day": ("tokens_per_day", "tokens a day (of UTC)"),
    "tokens-per-month": ("tokens_per_month", "tokens a month"),
}
COSTS: Mapping[str, tuple[str, str]] = {
    "cost-per-day": ("cost_per_day", "what it may cost a day, in the currency of the experts' prices"),
    "cost-per-month": ("cost_per_month", "what it may cost a month"),
}
REPEATED: Mapping[str, tuple[str, str, str]] = {
    "scope": ("scopes", "SCOPE", f"what it may do: {', '.join(Scope)}; may be repeated"),
    "model": ("allowed_models", "NAME", "a profile, expert or model it may ask for, * for anything; may be repeated"),
    "collection": (
        "allowed_collections",
        '"SLUG: LEVEL"',
        "a collection it may read, write or manage; may be repeated",
    ),
    "address": ("allowed_addresses", "NETWORK", "where requests may come from, as 10.1.0.0/16; may be repeated"),
}


class Command(BaseCommand):
    help = (
        "Create an API key and print it, alone on the last line: it is not shown again. Without options it may do "
        "everything that a client does, and as much of it as it likes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who or what uses the key")
        parser.add_argument("--group", default="", help="whose it is; rules may look at it")
        parser.add_argument("--owner", help="the user who answers for it, by the name to log in with")
        parser.add_argument("--days", type=int, help="the key expires after so many days")
        parser.add_argument("--priority", choices=Priority.values, default=Priority.NORMAL, help="in queues")
        parser.add_argument("--note", default="", help="for your colleagues")
        parser.add_argument("--keep-texts", action="store_true", help="store its prompts and answers")
        for option, (field, metavar, words) in REPEATED.items():
            parser.add_argument(f"--{option}", dest=field, action="append", default=[], metavar=metavar, help=words)
        for option, (field, words) in AMOUNTS.items():
            parser.add_argument(f"--{option}", dest=field, type=int, metavar="N", help=words)
        for option, (field, words) in COSTS.items():
            parser.add_argument(f"--{option}", dest=field, type=_amount, metavar="AMOUNT", help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        policy = {field: options[field] for field, *_ in (*REPEATED.values(), *AMOUNTS.values(), *COSTS.values())}
        try:
            key, text = ApiKey.objects.issue(
                name=options["name"].strip(),
                group=options["group"].strip(),
                owner=_owner(options["owner"]),
                expires_at=_end(options["days"]),
                priority=options["priority"],
                note=options["note"],
                keeps_texts=options["keep_texts"],
                **policy,
            )
        except ValidationError as error:
            raise refused(error) from error
        for warning in fitting_nothing(key):
            self.stderr.write(warning)
        self.stdout.write(text)


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"“{text}” is no amount such as 1.50") from None


def _owner(name: str | None) -> Any:
    if name is None:
        return None
    users = get_user_model()
    found = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
    if found is None:
        raise CommandError(f"There is no user '{name}'. An administrator adds users in admin.")
    return found


def _end(days: int | None) -> Any:
    if days is None:
        return None
    if not 1 <= days <= LONGEST_DAYS:
        raise CommandError(f"--days must be from 1 to {LONGEST_DAYS:,}. Leave it out for a key that does not expire.")
    return timezone.now() + timedelta(days=days)
