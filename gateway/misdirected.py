"""Requests that miss every door: what is said to a client whose base URL is not quite right.

Most often "/v1" is missing, is there twice, or is followed by two slashes.
"""

import functools
import re
from collections.abc import Sequence

from gateway.errors import NotFound

OPENAI = "Clients of OpenAI take a base URL that ends in /v1, and add the rest."
OLLAMA = "Clients of Ollama take the server's address alone, and add the rest."
MOST_SEGMENTS = 12
"""Of a path that are looked at, its last."""
_PARAMETER = re.compile(r"\{(\w+)\}")


def nothing_at(method: str, path: str) -> NotFound:
    """Return the error for a path that leads nowhere; it names the one that was meant, where that can be told."""
    nothing = f"There is nothing at {method} {path}."
    if path.strip("/").lower() == "v1":
        return NotFound(f"{nothing} {OPENAI}")
    meant = path_meant(method, path)
    if meant is None:
        return NotFound(nothing)
    why = OPENAI if meant.startswith("/v1/") else OLLAMA if meant.startswith("/api/") else ""
    return NotFound(f"{nothing} Did you mean {meant}? {why}".rstrip())


def path_meant(method: str, path: str) -> str | None:
    """Return the path of the door that the end of ``path`` names, the longest end that does; None if none does."""
    segments = [segment for segment in path.split("/") if segment][-MOST_SEGMENTS:]
    for first in range(len(segments)):
        rest = "/".join(segments[first:])
        for candidate in (f"/{rest}", f"/v1/{rest}"):
            for door, template in _doors(method):
                if found := door.fullmatch(candidate):
                    meant = template.format(**found.groupdict())
                    return None if meant == path else meant
    return None


@functools.lru_cache(maxsize=8)  # methods are whatever clients send
def _doors(method: str) -> Sequence[tuple[re.Pattern[str], str]]:
    from gateway.openapi.operations import OPERATIONS  # needs REST framework, whose settings name what needs this

    templates = [path for known, path in OPERATIONS if known == method]
    return [(re.compile(_PARAMETER.sub(_segment, one), re.IGNORECASE), one) for one in templates]


def _segment(parameter: re.Match[str]) -> str:
    name = parameter[1]
    return f"(?P<{name}>.+)" if name == "name" else f"(?P<{name}>[^/]+)"  # models have slashes in their names
