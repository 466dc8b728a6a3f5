"""Values out of JSON as pages show them; one of another kind than is meant is shown as a dash or left out."""

from typing import Any


def percent(value: Any) -> str:
    return f"{value:.0%}" if is_number(value) else "–"


def number(value: Any, digits: int, unit: str = "") -> str:
    return f"{value:.{digits}f}{unit}" if is_number(value) else "–"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
