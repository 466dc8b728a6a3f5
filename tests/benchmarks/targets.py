"""What is measured: the stub alone, this gateway, and the LiteLLM proxy. Each stops the processes it starts."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import orjson
import psutil

from tests.benchmarks.stub import MODEL
from tests.serving import ROOT, Served

# 1.82.7 and 1.82.8 were compromised; this one is what dspy brings at the time of writing.
LITELLM = "litellm[proxy]==1.106.2"
INSTALL_SECONDS = 900
START_SECONDS = 120
STOP_SECONDS = 30


class TargetMissing(Exception):
    """A target that cannot be measured on this machine; the rest can."""


class Target(ABC):
    """Answers POST /v1/chat/completions at ``url``; ``process`` is the one that does."""

    name: str
    url: str
    api_key: str
    model: str
    process: psutil.Process

    @abstractmethod
    def start(self) -> None:
        """Return when it answers; ``stop`` follows even if this raises."""

    @abstractmethod
    def stop(self) -> None:
        """End every process that was started."""

    def rss_bytes(self) -> int:
        return sum(process.memory_info().rss for process in self._family())

    def cpu_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._family())

    def _family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


class Stub(Target):
    """tests/benchmarks/stub.py, asked without a gateway between."""

    name, api_key, model = "stub", "none", MODEL

    def start(self) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.stub"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._popen.stdout
        self.url = f"http://127.0.0.1:{int(self._popen.stdout.readline())}"
        self.process = psutil.Process(self._popen.pid)

    def stop(self) -> None:
        with contextlib.suppress(AttributeError), self._popen:
            self._popen.terminate()


class Gateway(Target):
    """``manage.py serve`` with one worker, as installed: checks the key, routes ``auto``, records each request."""

    name, model = "gateway", "auto"

    def __init__(self, folder: Path, stub: Stub) -> None:
        # The embedded PostgreSQL of a run as root drops to an account of its own, which must be able to pass.
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="gateway-", dir=folder))
        self._folder.chmod(0o711)
        self._stub = stub

    def start(self) -> None:
        # Empty means the default: neither the developer's .env nor their environment decides what is measured.
        unset = ("DATABASE_URL", "OLLAMA_API_KEY", "SECRET_KEY", "ALLOWED_HOSTS", "REDIS_URL", "LOG_LEVEL")
        environment = dict.fromkeys(unset, "") | {
            "LOG_LEVEL": "INFO",
            "MOE_ENV_FILE": str(self._folder / "no.env"),
            "OLLAMA_BASE_URL": self._stub.url,
            "REQUIRE_API_KEY": "true",
            "NO_PROXY": "127.0.0.1",
        }
        self._served = Served(
            self._folder / "data", "--host", "127.0.0.1", "--port", "0", "--workers", "1", environment=environment
        )
        self._served.log = self._folder.with_name("gateway.log")
        self._served.start()
        self.url, self.api_key = self._served.url, self._served.api_key
        self.process = self._served.child("moe_site.worker")

    def stop(self) -> None:
        try:
            if hasattr(self, "_served") and hasattr(self._served, "process"):
                self._end()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        try:
            self._served.stop(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._served.kill()  # its children leave when it is gone


class LiteLLM(Target):
    """The LiteLLM proxy from PyPI, one worker and a master key, in a virtual environment the product knows nothing of.

    It is given the stub as an ``openai/…`` model, the protocol it translates least.
    """

    name, model = "litellm", "bench"

    def __init__(self, folder: Path, stub: Stub) -> None:
        self._venv = folder / "litellm-venv"
        self._folder = folder
        self._stub = stub

    def start(self) -> None:
        self._install()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.api_key = f"sk-{secrets.token_urlsafe(24)}"
        config, log = self._folder / "litellm.json", self._folder / "litellm.log"
        config.write_bytes(orjson.dumps(self._config()))  # JSON is YAML
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                [
                    *(self._venv / "bin" / "litellm", "--config", config),
                    *("--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
                ],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_answers(log)
        self.process = psutil.Process(self._popen.pid)

    def _config(self) -> Mapping[str, object]:
        upstream = {"model": f"openai/{MODEL}", "api_base": f"{self._stub.url}/v1", "api_key": "none"}
        return {
            "model_list": [{"model_name": self.model, "litellm_params": upstream}],
            "general_settings": {"master_key": self.api_key},
            "litellm_settings": {"telemetry": False},
        }

    def _environment(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        return kept | {
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches prices from the internet at start
            "NO_PROXY": "127.0.0.1",
        }

    def _install(self) -> None:
        stamp = self._venv / ".installed"
        if stamp.is_file() and stamp.read_text() == LITELLM:
            return
        print(f"Installing {LITELLM} for comparison (once, some minutes) …", flush=True)
        make = [sys.executable, "-m", "venv", "--clear", str(self._venv)]
        pip = [str(self._venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (make, [*pip, "--retries", "1", LITELLM]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
            except subprocess.TimeoutExpired:
                raise TargetMissing(f"it could not be installed within {INSTALL_SECONDS} s") from None
            if done.returncode:
                reason = (done.stderr or done.stdout).strip().rpartition("\n")[2]
                raise TargetMissing(f"it could not be installed: {reason}")
        stamp.write_text(LITELLM)

    def _wait_until_it_answers(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            with contextlib.suppress(urllib.error.URLError, OSError), direct.open(f"{self.url}/health/liveliness"):
                return
            if self._popen.poll() is not None or time.monotonic() > deadline:
                raise TargetMissing(f"it did not start; {log} says more")
            time.sleep(0.2)

    def stop(self) -> None:
        if not hasattr(self, "_popen"):
            return
        family = psutil.Process(self._popen.pid).children(recursive=True) if self._popen.poll() is None else []
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
