"""A JSON object of a client, read with types checked. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from routing.backends import codec
from routing.exceptions import BadRequest


def json_object(body: bytes, holding: str = "") -> dict[str, Any]:
    """Return the object that ``body`` is; raises BadRequest, which says what it must be ``holding``."""
    try:
        data = codec.loads(body)
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest(f"The body must be a JSON object{f' with {holding}' if holding else ''}.")
    return data


class Fields:
    """The fields of ``data``; null counts as absent, as with OpenAI. ``seen`` are those that were asked for.

    ``inside`` is the field that holds ``data``, for errors to name what is wrong as a client wrote it.
    """

    def __init__(self, data: Mapping[str, Any], *, inside: str = "") -> None:
        self._data = data
        self._place = f"{inside}." if inside else ""
        self.seen: set[str] = set()

    def raw(self, name: str) -> Any:
        self.seen.add(name)
        return self._data.get(name)

    def held(self, names: frozenset[str]) -> Iterator[str]:
        """Yield which of ``names`` hold something."""
        self.seen |= names
        yield from (name for name in names & self._data.keys() if self._data[name] is not None)

    def get(self, name: str, kinds: tuple[type, ...], words: str) -> Any:
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self._wrong(name, words)
        return value

    def text(self, name: str) -> str | None:
        value: str | None = self.get(name, (str,), "a text")
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self.get(name, (bool,), "true or false")
        return value

    def object(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self.get(name, (dict,), "an object")
        return value

    def array(self, name: str) -> list[Any] | None:
        value: list[Any] | None = self.get(name, (list,), "a list")
        return value

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float | None:
        value: float | None = self.raw(name)
        if value is None:
            return None
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not low <= value <= high
            or (whole and value != int(value))
        ):
            kind = "a whole number" if whole else "a number"
            raise self._wrong(name, f"{kind} from {low:,} to {high:,}")
        return value

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.number(name, low, high, whole=True)
        return None if value is None else int(value)

    def unseen(self) -> list[str]:
        """Return the fields that hold something and that nobody asked for."""
        return [name for name, value in self._data.items() if value is not None and name not in self.seen]

    def _wrong(self, name: str, words: str) -> BadRequest:
        return invalid(f"{self._place}{name}", f"'{self._place}{name}' must be {words}.")


def invalid(param: str, message: str) -> BadRequest:
    return BadRequest(message, param=param, code="invalid_value")


def unsupported(param: str, message: str) -> BadRequest:
    return BadRequest(message, param=param, code="unsupported_parameter")
