"""Everything that is looked at, in order: what others need first, then all the rest side by side."""

import functools
from collections.abc import Sequence

from django.conf import settings
from django.db import DatabaseError

from moe_site.doctor import background, configuration, database, embedders, machine, modes, redis_server, servers
from moe_site.doctor.finding import Finding, Level, Probe
from moe_site.doctor.running import findings_of


def examined(*, port: int, fix: bool) -> list[Finding]:
    """Return what was found; takes as long as the slowest probe of each of two rounds, a minute and a half at most."""
    first = [Probe(about=modes.ABOUT, look=modes.close)] if fix else []
    first.append(Probe(about=database.ABOUT, look=database.look, seconds=30.0))  # the embedded one may have to start
    found = findings_of(first)
    has_database = _answers(found)
    return found + findings_of(_second_round(port=port, has_database=has_database))


def _answers(found: Sequence[Finding]) -> bool:
    about = [finding for finding in found if finding.about == database.ABOUT]
    return bool(about) and about[0].level is Level.OK


def _second_round(*, port: int, has_database: bool) -> list[Probe]:
    look = functools.partial(configuration.look, with_database=has_database)
    probes = [
        Probe(about=configuration.ABOUT, look=look, seconds=30.0),
        Probe(about="disk", look=machine.disk),
        Probe(about="memory", look=machine.memory),
        Probe(about=background.SERVING, look=background.serving),
        Probe(about=f"port {port}", look=functools.partial(machine.port, port)),
    ]
    if settings.REDIS_URL:
        probes.append(Probe(about=redis_server.ABOUT, look=functools.partial(redis_server.look, settings.REDIS_URL)))
    tables = has_database and _has_tables()
    if tables:
        probes.append(Probe(about=background.INGESTION, look=background.ingestion))
        probes.append(Probe(about=background.WATCHING, look=background.watching))
    return [*probes, *servers.probes(with_database=tables), *embedders.probes(with_database=tables)]


def _has_tables() -> bool:
    """Tell whether this version's tables are there; without them only what needs none is looked at."""
    try:
        return not database.migrations_waiting()
    except DatabaseError:
        return False
