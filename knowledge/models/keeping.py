"""Who made a change, as the kept history of a row says it."""

from typing import Any

from django.db import models


class NamedHistory(models.Model):
    """A row of history that names who made it: accounts are deleted, and other installations have others."""

    who = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        abstract = True


def history_named(*, history_instance: Any, history_user: Any = None, **_: Any) -> None:
    """Write the name of whoever makes a change beside it (pre_create_historical_record)."""
    if history_user is not None and isinstance(history_instance, NamedHistory):
        history_instance.who = history_user.get_username()[:200]
