"""The system checks, as findings."""

from collections.abc import Iterator

from django.core.checks import WARNING, run_checks

from moe_site.doctor.finding import Finding, Level, ok

ABOUT = "settings"


def look(*, with_database: bool) -> Iterator[Finding]:
    """Run what `manage.py check` runs, and with the database what looks into it."""
    messages = [one for one in run_checks(databases=["default"] if with_database else None) if not one.is_silenced()]
    for message in messages:
        if message.level < WARNING:
            continue
        level = Level.ERROR if message.is_serious() else Level.WARNING
        yield Finding(about=ABOUT, level=level, message=message.msg, advice=message.hint or "", id=message.id or "")
    if not messages:
        yield ok(ABOUT, "Nothing is wrong with them" + ("." if with_database else ", as far as no database is needed."))
