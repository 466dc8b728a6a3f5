"""A git repository as a source: its newest commit alone, fetched by the git program into a folder of ours.

Nothing in it is run or checked out. The program is let go nowhere but to the addresses that were checked, asks nobody
for a password, and reads no configuration but what it is given here.
"""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from knowledge.files import may_hold_text
from knowledge.receiving import Incoming
from knowledge.watching.findings import ItemFailed, Listing, SourceFailed
from knowledge.watching.folders import LARGEST, MOST_FILES
from knowledge.watching.patterns import Pattern
from knowledge.watching.places import RepositoryAddress

TIP = "refs/watched/tip"
FETCH_SECONDS = 900
READ_SECONDS = 120
LARGEST_PACK = 4 * 1024**3
PLAIN_FILES = (b"100644", b"100755")
_POINTER = b"version https://git-lfs.github.com/spec/"
_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "gc.autoDetach": "false",
    "gc.pruneExpire": "now",
    "http.followRedirects": "false",  # nor are alternates of a dumb server followed then
    "protocol.allow": "never",
    "protocol.file.allow": "always",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "submodule.recurse": "false",
}


class Repository:
    """``folder`` is where it is kept between looks; ``addresses`` are those of its host, which were checked."""

    def __init__(
        self,
        address: RepositoryAddress,
        *,
        branch: str,
        pattern: Pattern,
        folder: Path,
        addresses: Sequence[str],
    ) -> None:
        self._address = address
        self._branch = branch
        self._pattern = pattern
        self._folder = folder
        self._addresses = addresses
        self._files: dict[str, tuple[str, int]] = {}
        self._commit = ""
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def reason(self) -> str:
        return f"It changed in commit {self._commit[:12]}."

    def listing(self) -> Listing:
        """Fetch the newest commit and return its files that can hold text. Raises SourceFailed."""
        self._fetch()
        self._commit = self._git("rev-parse", "--verify", "--quiet", TIP).decode().strip()
        links = 0
        for entry in self._git("ls-tree", "-r", "-z", "-l", "--full-tree", TIP).split(b"\0"):
            facts, _, raw = entry.partition(b"\t")
            if not raw:
                continue
            mode, _, blob, size = facts.split()
            path = raw.decode("utf-8", "replace")
            if mode not in PLAIN_FILES:
                links += 1
            elif self._is_meant(path):
                self._files[f"{self._address.name}/{path}"] = (blob.decode(), int(size))
        if len(self._files) > MOST_FILES:
            raise SourceFailed(f"The repository holds more than {MOST_FILES:,} files. Watch parts of it by a pattern.")
        notes = (f"Left out: {links:,} links and submodules.",) if links else ()
        return Listing(stamps={source: blob for source, (blob, _) in self._files.items()}, notes=notes)

    def bring(self, source: str) -> Incoming:
        """Return a file of the listing. Raises ItemFailed."""
        blob, size = self._files[source]
        if size > LARGEST:
            raise ItemFailed(f"it has more than {LARGEST // 1024 // 1024} MB")
        try:
            data = self._git("cat-file", "blob", blob)
        except SourceFailed as error:
            raise ItemFailed(str(error)) from error
        if data.startswith(_POINTER):
            raise ItemFailed("it is kept by git-lfs, which is not read")
        return Incoming(source=source, name=source.rpartition("/")[2], data=data)

    def stop(self) -> None:
        """End what git does, as nobody waits for it any more."""
        if (running := self._running) is not None and running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)

    def _is_meant(self, path: str) -> bool:
        parts = path.split("/")
        is_hidden = any(part.startswith(".") for part in parts)
        return path.isprintable() and not is_hidden and may_hold_text(parts[-1]) and self._pattern.matches(path)

    def _fetch(self) -> None:
        if not (self._folder / "HEAD").is_file():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True)
            self._git("init", "--bare", "--quiet", "--template=", ".")
        wanted = f"refs/heads/{self._branch}" if self._branch else "HEAD"
        self._git(
            *("fetch", "--depth=1", "--no-tags", "--no-recurse-submodules", "--quiet", "--force"),
            *("--", self._address.url, f"{wanted}:{TIP}"),
            seconds=FETCH_SECONDS,
        )

    def _git(self, *arguments: str, seconds: float = READ_SECONDS) -> bytes:
        """Run git in the folder and return what it says. Raises SourceFailed."""
        program = shutil.which("git")
        if program is None:
            raise SourceFailed("The git program is not installed on this machine. Install it, or watch a folder.")
        settings = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        self._running = running = subprocess.Popen(
            [program, *settings, *arguments],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if hasattr(resource, "prlimit"):  # a repository is not to fill the disk; Linux has this alone
            resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (LARGEST_PACK, LARGEST_PACK))
        try:
            out, err = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise SourceFailed(f"git did not end within {seconds:,.0f} seconds.") from error
        finally:
            _end(running)
        if running.returncode:
            raise SourceFailed(_in_words(err))
        return out

    def _settings(self) -> Mapping[str, str]:
        address = self._address
        if not self._addresses or not address.scheme.startswith("http"):
            return _SETTINGS
        port = address.port or (443 if address.scheme == "https" else 80)
        pinned = ",".join(f"[{one}]" if ":" in one else one for one in self._addresses)
        return _SETTINGS | {"http.curloptResolve": f"{address.host}:{port}:{pinned}"}

    def _environment(self) -> Mapping[str, str]:
        ssh = "ssh -oBatchMode=yes -oStrictHostKeyChecking=yes -oConnectTimeout=20"
        if self._addresses:
            ssh += f" -oHostName={self._addresses[0]} -oHostKeyAlias={self._address.host}"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": ssh,
        }


def clones_forget(parent: Path, kept: Container[int]) -> None:
    """Delete what was fetched of sources that are not there any more."""
    for folder in parent.iterdir() if parent.is_dir() else ():
        if folder.name.isdecimal() and int(folder.name) not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _end(running: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, with those that it started."""
    if running.poll() is None:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def _in_words(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith("fatal:")), lines[-1] if lines else "it did not say why")
    return f"git failed: {told.removeprefix('fatal:').strip()[:300]}."
