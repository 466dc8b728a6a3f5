"""`manage.py serve` as a subprocess, for tests of the real thing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import openai
import psutil

from tests.console import Console

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120

# Clients that a test opened and that the fixture in conftest.py closes.
opened: list[openai.OpenAI | httpx.Client] = []


class Served:
    """A running installation; ``url``, ``api_key`` and ``admin_password`` are read from its banner."""

    def __init__(self, data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.arguments = arguments or ("--port", "0")
        self.environment = (
            os.environ | {"MOE_DATA_DIR": str(data_dir), "EMBEDDED_MODELS": "off"} | dict(environment or {})
        )
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self.url = self.api_key = self.admin_password = ""
        self._console: Console | None = None

    def start(self) -> "Served":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "serve", *self.arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Try it" not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)
        text = self.output()
        self.url = re.search(r"Endpoint +(\S+)/v1", text)[1]
        if found := re.search(r"API key +(sk-moe-\S+)", text):
            self.api_key = found[1]
        if found := re.search(r"password (\S+) ", text):
            self.admin_password = found[1]
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def client(self, **options: object) -> openai.OpenAI:
        """Return an OpenAI client; it is closed when the test ends."""
        settings = {"base_url": f"{self.url}/v1", "api_key": self.api_key, "max_retries": 0, "timeout": 60} | options
        client = openai.OpenAI(**settings)  # type: ignore[arg-type]
        opened.append(client)
        return client

    def http(self, **options: object) -> httpx.Client:
        """Return an HTTP client with the API key; it is closed when the test ends."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=60, **options)  # type: ignore[arg-type]
        opened.append(client)
        return client

    def dial(self, path: str, body: Mapping[str, object]) -> socket.socket:
        """Send a request with the API key, and return its connection: who closes it is a client that leaves."""
        address = httpx.URL(self.url)
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address.host}\r\nAuthorization: Bearer {self.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection = socket.create_connection((address.host, address.port or 80), timeout=60)
        connection.sendall(head.encode() + content)
        return connection

    def manage(self, *arguments: str, timeout: float = 120) -> str:
        """Run another command of this installation and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, code: str) -> str:
        """Run ``code`` as `manage.py shell` does, and return what it printed; who serves hears of it a moment later."""
        self._console = self._console or Console(self.environment, folder=ROOT)
        return self._console.run(code)

    def call(self, *arguments: str) -> str:
        """Run another command in the shell that stays open, and return what it printed: ``manage`` without a start."""
        return self.shell(f"from django.core.management import call_command; call_command(*{arguments})")

    def new_key(self, *arguments: str) -> str:
        """Make an API key with `manage.py create_api_key`, and return it as soon as it is let in."""
        key = self.call("create_api_key", *arguments).split()[-1]
        deadline = time.monotonic() + START_SECONDS
        while httpx.get(f"{self.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 401:
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        return key

    def _close_shell(self) -> None:
        if self._console:
            self._console.close()
            self._console = None

    def processes(self) -> list[psutil.Process]:
        """Return every process of this installation, the database's included."""
        found = []
        own = {self.process.pid, *(child.pid for child in self._descendants())}
        for process in psutil.process_iter(["pid", "cmdline", "status"]):
            line = " ".join(process.info["cmdline"] or ())
            if process.info["status"] == psutil.STATUS_ZOMBIE:
                continue
            if process.info["pid"] in own or f"{self.data_dir}/" in line:
                found.append(process)
        return found

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def child(self, module: str) -> psutil.Process:
        return next(process for process in self._descendants() if module in " ".join(process.cmdline()))

    def stop(self, seconds: float = 30) -> int:
        self._close_shell()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self._close_shell()
        self.process.kill()
        self.process.wait()
