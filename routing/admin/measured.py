"""What was measured of a router or a classifier, as pages show it. The names are those of classifier/measures.py."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

_NUMBERS = {
    "count": "Examples measured with",
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "quick_share": "Decided by the quick layer",
}
_COVERAGE = {"threshold": "Abstains below", "decided": "Decided", "right": "Decided rightly"}
_EVALUATION = {"count": "Examples for evaluation", "accuracy": "Of those rightly", "active": "The active one then"}
_TABLES = {"experts": "By expert", "languages": "By language", "stages": "By stage", "sources": "By source"}
# PostgreSQL keeps no order of names.
_COLUMNS = ("count", "accuracy", "confidence", "precision", "recall", "f1", "interval")
_SHARES = frozenset(
    ("active", "accuracy", "precision", "recall", "decided", "right", "quick_share", "threshold", "confidence")
)
_SHOWN = frozenset((*_NUMBERS, *_TABLES, "accuracy_interval", "coverage", "evaluation", "calibration", "confusion"))


def measured(metrics: Any) -> dict[str, Any]:
    """Return ``metrics`` as the page shows them; whatever is missing or of another shape is left out."""
    metrics = mapping(metrics)
    tables = [_table(title, _most_first(mapping(metrics.get(name)))) for name, title in _TABLES.items()]
    calibration = mapping(metrics.get("calibration"))
    bins = {
        f"{shown('confidence', row.get('from'))} to {shown('confidence', row.get('to'))}": row
        for row in calibration.get("bins") or ()
        if isinstance(row, dict)
    }
    tables.append(_table("Calibration, by confidence", bins, without=("from", "to")))
    rest = {name: value for name, value in metrics.items() if name not in _SHOWN}
    return {
        "numbers": numbers(metrics),
        "tables": [table for table in tables if table["rows"]],
        "confusion": _confusion(metrics.get("confusion")),
        "rest": json.dumps(rest, ensure_ascii=False, indent=2) if rest else "",
    }


def numbers(metrics: Any) -> list[tuple[str, str]]:
    """Return the single numbers of ``metrics`` with their titles."""
    metrics = mapping(metrics)
    found = [(title, shown(name, metrics[name])) for name, title in _NUMBERS.items() if name in metrics]
    if isinstance(metrics.get("accuracy_interval"), list):
        found.append(("Accuracy, 95 % interval", shown("accuracy", metrics["accuracy_interval"])))
    coverage = mapping(metrics.get("coverage"))
    found += [(title, shown(name, coverage[name])) for name, title in _COVERAGE.items() if name in coverage]
    evaluation = mapping(metrics.get("evaluation"))
    found += [(title, shown(name, evaluation[name])) for name, title in _EVALUATION.items() if name in evaluation]
    if "expected_error" in mapping(metrics.get("calibration")):
        found.append(("Expected calibration error", shown("", metrics["calibration"]["expected_error"])))
    return found


def _table(title: str, value: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, Any]:
    """Return numbers by name, or objects by name, as a table."""
    rows = {name: row if isinstance(row, dict) else {"accuracy": row} for name, row in value.items()}
    there = {name for row in rows.values() for name in row if name not in without}
    columns = [name for name in _COLUMNS if name in there] + sorted(there - set(_COLUMNS))
    return {
        "title": title,
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [
            (name, [shown("accuracy" if column == "interval" else column, row.get(column)) for column in columns])
            for name, row in rows.items()
        ],
    }


def _most_first(value: Mapping[str, Any]) -> dict[str, Any]:
    def count(row: Any) -> float:
        found = mapping(row).get("count")
        return found if isinstance(found, int | float) else 0

    return dict(sorted(value.items(), key=lambda item: (-count(item[1]), item[0])))


def _confusion(value: Any) -> dict[str, Any] | None:
    confusion = mapping(value)
    labels, counts = confusion.get("labels"), confusion.get("counts")
    columns = confusion.get("predicted", labels)
    if not (isinstance(labels, list) and isinstance(columns, list) and isinstance(counts, list)):
        return None
    rows = [
        (label, [(count, label == column) for column, count in zip(columns, row, strict=False)])
        for label, row in zip(labels, counts, strict=False)
        if isinstance(row, list)
    ]
    return {"columns": columns, "rows": rows}


def shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(shown(name, one) for one in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if name in _SHARES:
        return f"{value:.1%}"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
