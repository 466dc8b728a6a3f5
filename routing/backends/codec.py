"""JSON with orjson, and bytes into lines: pure objects without I/O."""

import json
import re
from typing import Any

import orjson


def dumps(value: Any) -> bytes:
    """Return ``value`` as compact JSON in UTF-8.

    Falls back to the standard library for what orjson refuses but JSON allows: half a surrogate pair
    (a model that splits an emoji between two pieces) and integers beyond 64 bits.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


# orjson reads an integer of more than 64 bits as a float, and loses its last digits.
LONG_NUMBER = re.compile(rb"\d{19}")
# Looking for one takes a tenth of a second in 10 MB, which only bodies with images reach.
LONG_NUMBER_BYTES = 512 * 1024


TOO_DEEP = "it is nested too deeply"


def loads(data: bytes | str) -> Any:
    """Parse JSON; raises ValueError."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        if len(raw) > LONG_NUMBER_BYTES or not LONG_NUMBER.search(raw):
            return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise ValueError(TOO_DEEP) from None  # the standard library's own limit differs from version to version
    # The cases of dumps() the other way; a true error raises again, with a position.
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


class LineSplitter:
    """Bytes in pieces of any size into whole lines, without a limit on a line's length.

    A line ends at LF, CRLF or CR. (httpx's own ``aiter_lines`` also splits at U+2028 and others, which may
    stand raw inside a JSON string.)
    """

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes, without their ends."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = data.split(b"\n")
        self._pending.append(first)
        if not rest:
            return []
        lines = [b"".join(self._pending), *rest[:-1]]
        self._pending = [rest[-1]] if rest[-1] else []
        return lines

    def flush(self) -> list[bytes]:
        """Return what stands after the last line end, if anything."""
        rest = b"".join(self._pending)
        self._pending = []
        return [rest] if rest else []


class EventDecoder:
    """Lines of an SSE stream into the data of its events (WHATWG HTML, 9.2.6)."""

    def __init__(self) -> None:
        self._data: list[bytes] = []

    def feed(self, line: bytes) -> bytes | None:
        """Return an event's data when ``line`` ends it; comments and other fields are passed over."""
        if not line:
            data = b"\n".join(self._data) if self._data else None
            self._data = []
            return data
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        return None
