"""Asks everything side by side; what does not answer in time is said to hang, and left behind."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from django.db import connections

from moe_site.doctor.finding import Finding, Probe, error

logger = logging.getLogger(__name__)


def findings_of(probes: Sequence[Probe]) -> list[Finding]:
    """Return what ``probes`` find, in their order, once all have answered or had their time."""
    began = time.monotonic()
    looks = [_Look(probe) for probe in probes]
    return [finding for look in looks for finding in look.result(began)]


class _Look:
    """A probe in a thread of its own, which does not keep the process when it hangs."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._found: list[Finding] = []
        self._thread = threading.Thread(target=_guarded(self._look, probe, self._found), daemon=True)
        self._thread.start()

    def _look(self) -> None:
        for finding in self._probe.look():
            self._found.append(finding)

    def result(self, began: float) -> list[Finding]:
        self._thread.join(max(0.0, began + self._probe.seconds - time.monotonic()))
        found = list(self._found)
        if self._thread.is_alive():
            found.append(
                error(
                    self._probe.about,
                    f"No answer within {self._probe.seconds:g} seconds.",
                    "Something on the way takes what is sent and is silent: look for a firewall, or restart it.",
                )
            )
        return found


def _guarded(look: Callable[[], None], probe: Probe, found: list[Finding]) -> Callable[[], None]:
    def guarded() -> None:
        try:
            look()
        except Exception as problem:
            logger.debug("a probe failed about=%s", probe.about, exc_info=problem)
            found.append(
                error(
                    probe.about,
                    f"It cannot be looked at: {type(problem).__name__}: {problem}",
                    "LOG_LEVEL=DEBUG shows where this comes from.",
                )
            )
        finally:
            connections.close_all()

    return guarded
