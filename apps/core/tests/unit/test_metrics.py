from __future__ import annotations

import re

from django.conf import settings
from prometheus_client.metrics import MetricWrapperBase

import apps.core.metrics
from apps.outbox import metrics


def registered():
    return {
        name
        for module in (metrics, apps.core.metrics)
        for each in vars(module).values()
        if isinstance(each, MetricWrapperBase)
        for name in [each.describe()[0].name + ("_total" if each._type == "counter" else "")]
    }


def test_the_documentation_explains_each_metric_and_no_other():
    page = (settings.BASE_DIR / "docs" / "observability.md").read_text()
    table = page.split("| metric |")[1].split("\n\n")[0]

    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == registered()


def test_the_documentation_names_each_metrics_labels():
    page = (settings.BASE_DIR / "docs" / "observability.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \|([^|]*)\|", page, re.MULTILINE))
    labels = {name: tuple(re.findall(r"`([a-z_]+)`", text)) for name, text in rows.items()}

    for module in (metrics, apps.core.metrics):
        for each in vars(module).values():
            if isinstance(each, MetricWrapperBase):
                suffix = "_total" if each._type == "counter" else ""
                assert labels[each.describe()[0].name + suffix] == each._labelnames
