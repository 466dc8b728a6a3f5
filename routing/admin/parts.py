"""What several experts did for one answer, as the pages of decisions and trials show it."""

from typing import Any

from routing.admin.figures import is_number, number, objects, percent, texts
from routing.catalog import Mode

# The names are those of Plan.explained and of routing.mixture.parts.together.
NAMES = ("mixture", "parts", "agreement", "asked", "expansions", "cost", "notes")


def planned(plan: Any) -> str:
    """Return in a sentence who answers together, "" where one expert answers alone."""
    if not isinstance(plan, dict) or not (members := texts(plan.get("members"))):
        return ""
    if plan.get("mode") == Mode.CASCADE:
        first, *others = members
        return f"Cascade: {first} answers; where it is not confident enough, {', then '.join(others)}."
    breadth = plan.get("breadth")
    breadth = breadth if isinstance(breadth, int) else len(members)
    more = members[breadth:]
    then = f", and where they disagree or are not confident {', '.join(more)}" if more else ""
    asked = ", ".join(members[:breadth])
    return f"Mixture: {asked} are asked at the same time{then}; {plan.get('aggregator')} makes the answers one."


def answered(why: dict[str, Any]) -> dict[str, Any]:
    """Return what the page of a decision tells of a mixture or a cascade; empty where there was none."""
    plan, parts = planned(why.get("mixture")), objects(why.get("parts"))
    if not plan and not parts:
        return {}
    facts = [
        ("Agreement of the answers", percent(why["agreement"]) if is_number(why.get("agreement")) else ""),
        ("Experts asked", why.get("asked")),
        ("Asked for more", _times(why.get("expansions"))),
        ("Cost of all parts", number(why["cost"], 6) if why.get("cost") else ""),
    ]
    return {
        "plan": plan,
        "facts": [(title, value) for title, value in facts if value],
        "notes": texts(why.get("notes")),
        "rows": [_row(part) for part in parts],
        "has_choices": any("choice" in part for part in parts),
    }


def _times(count: Any) -> str:
    if not is_number(count) or not count:
        return ""
    return "once" if count == 1 else f"{count} times"


def _row(part: dict[str, Any]) -> dict[str, Any]:
    confidence, signal = percent(part.get("confidence")), part.get("signal")
    return {
        "choice": part.get("choice"),
        "role": part.get("role") or "–",
        "expert": part.get("expert") or "–",
        "replica": part.get("replica") or "–",
        "status": f"{part.get('status')} ({part['error']})" if part.get("error") else part.get("status") or "–",
        "confidence": f"{confidence} ({signal})" if signal and confidence != "–" else confidence,
        "tokens": f"{_count(part.get('prompt_tokens'))} / {_count(part.get('completion_tokens'))}",
        "cost": number(part.get("cost"), 6),
        "start": number(part.get("start_s"), 2, " s"),
        "first": number(part.get("first_s"), 2, " s"),
        "took": number(part.get("seconds"), 2, " s"),
    }


def _count(value: Any) -> str:
    return str(value) if isinstance(value, int) else "–"
