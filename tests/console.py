"""`manage.py shell` that stays open: what a test does in it costs no start of a process of its own.

Run as ``python -m tests.console`` with an installation's environment, by ``Served.shell`` in serving.py.
"""

import contextlib
import io
import json
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path


class Console:
    """The other end of it. While it is open the embedded database runs, so close it before that is to stop."""

    def __init__(self, environment: Mapping[str, str], *, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.console"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        """Run ``code`` to its end and return what it printed."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(code), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, f"The shell ended while it ran: {code}"
        printed, problem = json.loads(answer)
        assert not problem, printed + problem
        return str(printed)

    def close(self) -> None:
        self._process.communicate()


def main() -> None:
    import django

    django.setup()
    from django.core.management.commands.shell import Command
    from django.db import connections

    for line in sys.stdin:
        printed, problem = io.StringIO(), ""
        with contextlib.redirect_stdout(printed):
            try:
                exec(json.loads(line), Command().get_namespace(verbosity=0))
            except Exception:
                problem = traceback.format_exc()
            connections.close_all()  # the database may be another one when the next line comes
        print(json.dumps([printed.getvalue(), problem]), flush=True)


if __name__ == "__main__":
    main()
