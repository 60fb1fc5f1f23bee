"""Alert rules and dashboards, beside the metrics that there are and the page that explains them."""

from __future__ import annotations

import json
import re

import promql_parser
import pytest
import yaml
from django.conf import settings

from tests.contract.test_metrics import METRICS, name_of

FILES = settings.BASE_DIR / "deploy" / "observability"
RULES = [
    rule
    for group in yaml.safe_load((FILES / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PANELS = [
    (path.stem, panel)
    for path in sorted((FILES / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
]
EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in RULES] + [
    (f"{name}: {panel['title']}", target["expr"])
    for name, panel in PANELS
    for target in panel["targets"]
]
# What Prometheus and its client say of every process by themselves.
GIVEN = {"up", "process_resident_memory_bytes"}
# Given by the scrape configuration and by histograms.
LABELS = {"job", "process", "le"}


def known_series():
    series = {}
    for metric in METRICS:
        name, labels = name_of(metric), set(metric._labelnames)
        endings = ("_bucket", "_count", "_sum") if metric._type == "histogram" else ("",)
        series |= {f"{name}{ending}": labels for ending in endings}
    return series


def selectors_of(expression):
    """Return each series that the expression reads, after it was parsed as a whole."""
    promql_parser.parse(expression)
    without_text = re.sub(r'"[^"]*"', '""', expression)
    words = re.findall(r"\b[a-z_]+\b(?=\{|\[|\)| [<>=!*-]|$)", without_text)
    grouping = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", without_text))))
    return {word for word in words if word not in grouping}, grouping


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_expressions_are_promql_of_metrics_that_there_are(where, expression):
    read, grouping = selectors_of(expression)
    series = known_series()

    assert read, where
    assert read <= set(series) | GIVEN
    labels = set().union(*(series.get(each, set()) for each in read))
    assert grouping <= labels | LABELS


def test_a_name_that_no_metric_has_is_found():
    read, _ = selectors_of("sum by (job) (rate(http_requests_total[5m])) > 1")

    assert read == {"http_requests_total"}
    assert not read <= set(known_series())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_grave_it_is_and_has_its_entry_in_the_runbook(rule):
    page = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    alerts = page.split("\n## Alerts\n")[1].split("\n## ")[0]

    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert re.search(rf"^\| `{rule['alert']}` \|[^|]+\|[^|]+\|$", alerts, re.MULTILINE)


def test_the_runbook_explains_no_alert_that_is_gone():
    page = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    alerts = page.split("\n## Alerts\n")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", alerts, re.MULTILINE)) == {
        rule["alert"] for rule in RULES
    }
