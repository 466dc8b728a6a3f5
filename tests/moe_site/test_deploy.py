"""The dashboard, the alerts and the page that explains them name nothing that /metrics does not have."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from gateway import metrics
from knowledge import metrics as knowledge
from routing import metrics as pool

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "moe.json").read_text())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()

RULES = {rule["alert"]: rule for group in ALERTS["groups"] for rule in group["rules"]}
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
# What Prometheus itself puts on every series.
SCRAPED = {"job", "instance"}


def series():
    """Return the labels of each series that /metrics can tell, by its name."""
    found = {"up": set()}
    for module in (metrics, knowledge, pool):
        for value in vars(module).values():
            if isinstance(value, Counter):
                found[f"{value._name}_total"] = set(value._labelnames)
            elif isinstance(value, Gauge):
                found[value._name] = set(value._labelnames)
            elif isinstance(value, Histogram):
                labels = set(value._labelnames)
                found |= {f"{value._name}_count": labels, f"{value._name}_sum": labels}
                found[f"{value._name}_bucket"] = labels | {"le"}
    return found


SERIES = series()


def faults(expression):
    """Yield what an expression speaks of and nobody tells."""
    names = set(re.findall(r"\b(moe_\w+|up)\b(?=[{\[)\s]|$)", expression))
    if not names:
        yield "it names no series"
    yield from (f"no series {name}" for name in names - SERIES.keys())
    known = SCRAPED.union(*(SERIES.get(name, set()) for name in names))
    for name, selectors in re.findall(r"\b(moe_\w+|up)\{([^}]*)\}", expression):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        yield from (f"{name} has no label {label}" for label in labels - SERIES.get(name, set()) - SCRAPED)
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        yield from (f"nothing has a label {label}" for label in set(re.findall(r"\w+", grouped)) - known)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_speaks_of_what_there_is(name):
    rule = RULES[name]
    assert not list(faults(rule["expr"]))
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    used = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
    kept = {label for grouped in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in re.findall(r"\w+", grouped)}
    assert used <= kept | SCRAPED


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_speaks_of_what_there_is(title):
    for target in PANELS[title]["targets"]:
        assert not list(faults(target["expr"]))
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert shown <= set().union(*(SERIES.get(name, set()) for name in re.findall(r"moe_\w+", target["expr"])))


def test_panels_do_not_lie_on_each_other():
    cells = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_page_says_what_to_do_for_each_alert_and_what_each_series_is():
    assert [name for name in RULES if f"**{name}**" not in OPERATIONS] == []
    told = {name.removesuffix("_count") for name in SERIES if not name.endswith(("_sum", "_bucket"))} - {"up"}
    assert [name for name in sorted(told) if f"`{name}`" not in OPERATIONS] == []
    written = set(re.findall(r"`(moe_\w+)`", OPERATIONS))
    assert written - told - SERIES.keys() == set()


def test_everything_that_is_told_is_shown():
    expressions = " ".join(target["expr"] for panel in PANELS.values() for target in panel["targets"])
    shown = set(re.findall(r"\bmoe_\w+", expressions))
    told = {name for name in SERIES if not name.endswith(("_sum", "_count"))} - {"up"}
    assert told - shown == set()
