"""Where sources may be: folders below those that a setting allows, and addresses of the open internet."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings

from knowledge.models import WatchedSource
from knowledge.watching.findings import SourceFailed
from knowledge.web import identity

SCHEMES = ("https", "http", "ssh", "file")
_SCP = re.compile(r"(?:(?P<user>[\w.-]+)@)?(?P<host>[\w.-]+):(?P<path>[^/:].*)")
_BRANCH = re.compile(r"(?!-)[\w./-]{1,200}")
_USER = re.compile(r"(?!-)[\w.-]{1,100}")
_HOST = re.compile(r"(?!-)[\w.:-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryAddress:
    """Where a git repository is; ``folder`` is that of one on this machine."""

    scheme: str
    host: str = ""
    port: int | None = None
    user: str = ""
    path: str = ""
    folder: Path | None = None

    @property
    def url(self) -> str:
        if self.folder is not None:
            return f"file://{self.folder}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")
        return f"{self.scheme}://{authority}{self.path}"

    @property
    def name(self) -> str:
        """What it is called: the last part of where it is."""
        return (unquote(self.path).rstrip("/").rpartition("/")[2].removesuffix(".git") or self.host)[:200]

    @classmethod
    def parse(cls, text: str) -> "RepositoryAddress":
        """Read an address as git does; raises SourceFailed for what is none, or has a password in it."""
        if "://" not in text and (short := _SCP.fullmatch(text)):
            text = f"ssh://{short['user'] or 'git'}@{short['host']}/{short['path']}"
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise SourceFailed("It is no address of a git repository.") from error
        if parts.scheme not in SCHEMES:
            raise SourceFailed(
                "The address of a git repository begins with https://, ssh:// or file://, or is of the form "
                "git@example.org:group/repository.git."
            )
        if parts.password is not None or (parts.username and parts.scheme != "ssh"):
            raise SourceFailed(
                "An address with a password or token in it is not kept. Use ssh, with a key of the account that runs "
                "the server."
            )
        if parts.scheme == "file":
            return cls(scheme="file", path=parts.path, folder=allowed_folder(unquote(parts.path)))
        user = parts.username or ""
        if not _HOST.fullmatch(parts.hostname or "") or (user and not _USER.fullmatch(user)) or len(parts.path) < 2:
            raise SourceFailed("It is no address of a git repository.")
        return cls(scheme=parts.scheme, host=parts.hostname or "", port=port, user=user, path=parts.path)


def allowed_folder(path: str) -> Path:
    """Return the folder at ``path``, without links, if it is below one that may be watched; raises SourceFailed."""
    roots = [Path(root).resolve() for root in settings.WATCH_FOLDERS if root]
    if not roots:
        raise SourceFailed(
            "No folder of the server may be watched. Whoever runs it can allow some with the setting WATCH_FOLDERS."
        )
    if not path.startswith("/") or "\0" in path:
        raise SourceFailed("Give the whole path of the folder, from / on.")
    folder = Path(path).resolve()
    if not any(folder.is_relative_to(root) for root in roots):
        raise SourceFailed("The folder is not below one that may be watched (setting WATCH_FOLDERS).")
    if not folder.is_dir():
        raise SourceFailed("There is no such folder on this machine. Check its path, and whether it is mounted.")
    return folder


def source_check(*, kind: str, location: str, branch: str = "") -> None:
    """Raise SourceFailed for a place that cannot be, or may not be, looked at; asks no network."""
    if branch and (kind != WatchedSource.Kind.GIT or not _BRANCH.fullmatch(branch) or ".." in branch):
        raise SourceFailed("A branch is a name such as main, and only git repositories have any.")
    if kind == WatchedSource.Kind.FOLDER:
        allowed_folder(location)
    elif kind == WatchedSource.Kind.GIT:
        RepositoryAddress.parse(location)
    else:
        try:
            identity(location)
        except ValueError as error:
            raise SourceFailed(str(error)) from error
