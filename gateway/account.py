"""What is known of a request when it ends, whichever way it does, and the log line it leaves."""

import logging
import time
from dataclasses import dataclass, field

from gateway.auth import Caller
from routing.backends.protocol import Usage
from routing.catalog import Replica
from routing.exceptions import EndpointError
from routing.router import Decision

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Account:
    """``what`` is the kind of request; a request that has neither a reason nor an error was cancelled."""

    what: str
    request_id: str
    caller: Caller
    asked: str
    decision: Decision | None = None
    replica: Replica | None = None
    reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    error: EndpointError | None = None
    first_event: float | None = None
    started: float = field(default_factory=time.monotonic)

    def saw(self) -> None:
        """Note that a piece of the answer came."""
        if self.first_event is None:
            self.first_event = time.monotonic() - self.started

    @property
    def outcome(self) -> str:
        if self.error:
            return self.error.code or self.error.type
        return self.reason or "cancelled"

    def log(self) -> None:
        logger.info(
            "%s request_id=%s key=%s asked=%s expert=%s route=%s replica=%s outcome=%s prompt_tokens=%s "
            "completion_tokens=%s first_ms=%s latency_ms=%.0f",
            self.what,
            self.request_id,
            self.caller.prefix or "-",
            self.asked,
            self.decision.expert.slug if self.decision else "-",
            self.decision.route if self.decision else "-",
            self.replica.label if self.replica else "-",
            self.outcome,
            self.usage.prompt_tokens,
            self.usage.completion_tokens,
            "-" if self.first_event is None else f"{self.first_event * 1000:.0f}",
            (time.monotonic() - self.started) * 1000,
        )
