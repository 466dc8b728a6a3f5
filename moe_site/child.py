"""A process of `manage.py serve`, which is kept running."""

import contextlib
import logging
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from moe_site.pauses import Pauses
from routing.metrics import FOLDER_VARIABLE, folder_make, process_forget

logger = logging.getLogger(__name__)

STEADY_SECONDS = 30.0
"""Of running, after which an end is a first one again."""


class Child:
    """A process that is started again when it ends, and that ends with us.

    ``stdin`` is a pipe we only hold: when we are gone, whatever the reason, the child reads its end and leaves.
    ``figures`` is the folder of the figures that it and its siblings keep for Prometheus.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        log: Path | None = None,
        pass_fds: tuple[int, ...] = (),
        figures: Path | None = None,
    ) -> None:
        self.name = name
        self.command = command
        self._log = log
        self._pass_fds = pass_fds
        self._figures = figures
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pauses = Pauses()

    def start(self) -> None:
        """Start it; raises OSError."""
        self._started_at = time.monotonic()
        command = self.command
        # The folder may be gone: systemd removes what users have in memory when they log out (RemoveIPC).
        if self._figures and folder_make(self._figures):
            command = ["env", f"{FOLDER_VARIABLE}={self._figures}", *command]
        with self._output() as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if self._log else None,
                pass_fds=self._pass_fds,
                cwd=settings.BASE_DIR,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
            )

    @contextlib.contextmanager
    def _output(self) -> Iterator[IO[bytes] | None]:
        if self._log is None:
            yield None
            return
        with self._log.open("wb") as file:
            yield file

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep_running(self) -> None:
        """Start the child again if it ended, at once the first time and then with growing pauses."""
        if self.running or not self._pauses.are_over:
            return
        if self._process is not None:
            self._let_go(self._process)
            if time.monotonic() - self._started_at > STEADY_SECONDS:
                self._pauses.forget()
            self._pauses.failed()
            logger.error("process ended, starting it again name=%s status=%s", self.name, self._process.returncode)
        try:
            self.start()
        except OSError as error:  # the machine may be short of memory, processes or disk
            logger.error("process cannot be started, trying again name=%s error=%s", self.name, error)

    def ask_to_stop(self) -> None:
        if self.running and self._process:
            self._process.terminate()

    def wait_stopped(self, deadline: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.warning("process does not stop, killing it name=%s", self.name)
            self._process.kill()
            self._process.wait()
        self._let_go(self._process)

    def _let_go(self, ended: "subprocess.Popen[bytes]") -> None:
        if ended.stdin:
            ended.stdin.close()
        if self._figures:
            process_forget(self._figures, ended.pid)
