"""The program in use, in memory: what the database says of it, without DSPy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from routing.live import LiveSnapshot

if TYPE_CHECKING:
    from routing.models import RouterProgram


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A version of the program; ``digest`` tells apart what would be asked, and of whom.

    ``runs_on`` is the slug of the expert whose model answers, "" where that expert was deleted; ``time_limit`` is in
    seconds. See the fields of the same names of ``models.RouterProgram``.
    """

    version: int
    runs_on: str
    time_limit: float = 1.5
    loads_model: bool = False
    accept_from: float = 0.0
    state: Mapping[str, Any] = field(default_factory=dict, repr=False)
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """The program in use; None where none is."""

    program: Program | None = None


def program_of(row: RouterProgram) -> Program:
    """Return a row as a value."""
    runs_on = row.runs_on.slug if row.runs_on else ""
    asked = json.dumps([row.pk, runs_on, row.state], sort_keys=True)
    return Program(
        version=row.pk,
        runs_on=runs_on,
        time_limit=row.time_limit,
        loads_model=row.loads_model,
        accept_from=row.accept_from,
        state=row.state,
        digest=hashlib.blake2b(asked.encode(), digest_size=16).hexdigest(),
    )


def load() -> Active:
    """Read the active program from the database."""
    from routing.models import RouterProgram

    row = RouterProgram.objects.filter(active=True).select_related("runs_on").first()
    return Active(program=program_of(row) if row else None)


active: LiveSnapshot[Active] = LiveSnapshot(load, name="program")


def connect_signals() -> None:
    from routing.models import Expert, RouterProgram

    active.watch((RouterProgram, Expert))
