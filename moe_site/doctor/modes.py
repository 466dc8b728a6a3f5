"""The one thing that is put right without asking: what other accounts of this machine can read and should not."""

from collections.abc import Iterator

from moe_site.checks.exposure import exposed
from moe_site.doctor.finding import Finding, error, ok

ABOUT = "file modes"


def close() -> Iterator[Finding]:
    """Take away from other accounts what is ours alone."""
    for path, mode in list(exposed()):
        try:
            path.chmod(mode)
        except OSError as problem:
            yield error(ABOUT, f"{path} cannot be closed to others: {problem.strerror}.", "Run this as its owner.")
        else:
            yield ok(ABOUT, f"Closed {path} to other accounts of this machine.")
