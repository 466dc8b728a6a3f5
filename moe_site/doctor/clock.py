"""Whether clocks agree: logins by code, expiry of keys and what is signed depend on it."""

import time
from collections.abc import Iterator

from moe_site.doctor.finding import Finding, error, warning

TOLERATED_SECONDS = 5.0
TOO_MUCH_SECONDS = 60.0
ADVICE = "Let both machines keep time by NTP (timedatectl set-ntp true)."


def compared(about: str, its: float, *, precision: float = 0.0) -> Iterator[Finding]:
    """Yield a finding if another machine's time (seconds of the epoch, true to ``precision``) is not ours."""
    apart = abs(time.time() - its)
    if apart > TOO_MUCH_SECONDS:
        yield error(about, f"Its clock and ours are {apart:,.0f} seconds apart.", ADVICE)
    elif apart > TOLERATED_SECONDS + precision:
        yield warning(about, f"Its clock and ours are {apart:.0f} seconds apart.", ADVICE)
