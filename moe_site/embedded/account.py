"""The account that root drops to for the embedded PostgreSQL, which refuses to run as root."""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from moe_site.embedded.exceptions import EmbeddedPostgresError

ACCOUNT = "pgserver"
ATTEMPTS = 6
"""At making it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account of this system, by its numbers."""

    uid: int
    gid: int

    def subprocess_options(self) -> dict[str, object]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def blocker(self, folder: Path) -> Path | None:
        """Return the topmost folder on the way to ``folder`` that this account cannot pass, or None."""
        for place in [*reversed(folder.resolve().parents), folder.resolve()]:
            probe = subprocess.run(
                ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(place)],
                cwd="/",
                stderr=subprocess.DEVNULL,
                check=False,
                **self.subprocess_options(),  # type: ignore[call-overload]
            )
            if probe.returncode:
                return place
        return None


def server_account() -> Account:
    """Return the account that root drops to, making it where there is none; raises EmbeddedPostgresError."""
    import pwd

    problem: Exception | None = None
    for _ in range(ATTEMPTS):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(ACCOUNT)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except OSError as error:
            problem = error
            break
        except subprocess.CalledProcessError as error:
            problem = error
            time.sleep(0.2)  # another installation may be making it at this moment
    raise EmbeddedPostgresError(
        f"PostgreSQL does not run as root, and the account '{ACCOUNT}' could not be made ({problem}). "
        "Run as an ordinary user, or set DATABASE_URL to a PostgreSQL with pgvector."
    ) from problem
