"""How good a set of decisions is: accuracy, its intervals, and where it fails. Needs numpy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any


def wilson(right: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, right / of
    centre = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, (centre - spread) / (1 + z * z / of)), min(1.0, (centre + spread) / (1 + z * z / of))


def paired(first: Sequence[bool], second: Sequence[bool]) -> dict[str, Any]:
    """Return by how much more of the same cases ``second`` got right than ``first``, with its 95 % interval.

    The interval is the adjusted Wald interval of Bonett and Price (2012, J. Educ. Behav. Stat. 37:479) for two shares
    of the same cases: only those count that one got right and the other did not.
    """
    gained = sum(there and not here for here, there in zip(first, second, strict=True))
    lost = sum(here and not there for here, there in zip(first, second, strict=True))
    of = len(first)
    low, high = difference(gained, lost, of)
    return {
        "count": of,
        "gained": gained,
        "lost": lost,
        "difference": (gained - lost) / of if of else 0.0,
        "interval": [low, high],
    }


def difference(gained: int, lost: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of (gained - lost) / of, see ``paired``."""
    if not of:
        return -1.0, 1.0
    z, up, down = 1.96, (gained + 1) / (of + 2), (lost + 1) / (of + 2)
    spread = z * math.sqrt((up + down - (up - down) ** 2) / (of + 2))
    return max(-1.0, up - down - spread), min(1.0, up - down + spread)


def scores(truth: Sequence[str], chosen: Sequence[str]) -> dict[str, Any]:
    """Return accuracy with its interval, macro F1, and precision, recall and F1 of each label."""
    right = sum(one == other for one, other in zip(truth, chosen, strict=True))
    confusion = Counter(zip(truth, chosen, strict=True))
    labels = sorted(set(truth))
    each = {}
    for label in labels:
        hits = confusion[label, label]
        said = sum(count for (_, other), count in confusion.items() if other == label)
        there = sum(count for (one, _), count in confusion.items() if one == label)
        precision, recall = hits / said if said else 0.0, hits / there if there else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        each[label] = {"precision": precision, "recall": recall, "f1": f1, "count": there}
    low, high = wilson(right, len(truth))
    columns = sorted(set(truth) | set(chosen))
    return {
        "accuracy": right / len(truth) if truth else 0.0,
        "accuracy_interval": [low, high],
        "macro_f1": sum(one["f1"] for one in each.values()) / len(each) if each else 0.0,
        "experts": each,
        "confusion": {
            "labels": labels,
            "predicted": columns,
            "counts": [[confusion[one, other] for other in columns] for one in labels],
        },
    }


def by(keys: Sequence[str], truth: Sequence[str], chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return count and accuracy for each of ``keys`` (a language, a stage, a source), most frequent first."""
    found: dict[str, dict[str, Any]] = {}
    for key, count in Counter(keys).most_common():
        right = sum(k == key and one == other for k, one, other in zip(keys, truth, chosen, strict=True))
        found[key or "unknown"] = {"count": count, "accuracy": right / count, "interval": list(wilson(right, count))}
    return found


def calibration(confidence: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> dict[str, Any]:
    """Return how confidence and accuracy agree: a row a bin, and their mean distance (ECE)."""
    rows = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [(c, r) for c, r in zip(confidence, right, strict=True) if low <= c < high or (high == 1 and c >= 1)]
        if inside:
            rows.append(
                {
                    "from": low,
                    "to": high,
                    "count": len(inside),
                    "confidence": sum(c for c, _ in inside) / len(inside),
                    "accuracy": sum(r for _, r in inside) / len(inside),
                }
            )
    total = sum(row["count"] for row in rows)
    error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / total if total else 0.0
    return {"bins": rows, "expected_error": error}


def coverage(confidence: Sequence[float], right: Sequence[bool], threshold: float) -> dict[str, float]:
    """Return which share reaches ``threshold``, and which share of those is right."""
    decided = [r for c, r in zip(confidence, right, strict=True) if c >= threshold]
    return {
        "threshold": threshold,
        "decided": len(decided) / len(right) if right else 0.0,
        "right": sum(decided) / len(decided) if decided else 0.0,
    }


def measures(
    probabilities: Any, y: Any, experts: Sequence[str], languages: Sequence[str], *, abstain: float
) -> dict[str, Any]:
    """Return everything there is to say of probabilities (n, experts) for the experts at positions ``y``."""
    truth = [experts[number] for number in y]
    chosen = [experts[number] for number in probabilities.argmax(1)]
    confidence = [float(value) for value in probabilities.max(1)]
    right = [one == other for one, other in zip(truth, chosen, strict=True)]
    return {
        "count": len(truth),
        **scores(truth, chosen),
        "languages": by(languages, truth, chosen),
        "calibration": calibration(confidence, right),
        "coverage": coverage(confidence, right, abstain),
    }
