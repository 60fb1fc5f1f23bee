"""Every metric of every service, beside the page that explains them."""

from __future__ import annotations

import re
from importlib import import_module

from django.conf import settings
from prometheus_client.metrics import MetricWrapperBase

METRICS = tuple(
    each
    for path in sorted((settings.BASE_DIR / "apps").rglob("metrics.py"))
    for module in [
        import_module(".".join(path.relative_to(settings.BASE_DIR).with_suffix("").parts))
    ]
    for each in vars(module).values()
    if isinstance(each, MetricWrapperBase)
)
ROW = re.compile(r"^\| `([a-z_]+)` \|([^|]*)\|", re.MULTILINE)


def name_of(metric: MetricWrapperBase) -> str:
    return metric.describe()[0].name + ("_total" if metric._type == "counter" else "")


def explained() -> dict[str, tuple[str, ...]]:
    page = (settings.BASE_DIR / "docs" / "observability.md").read_text()
    table = page.split("| metric |")[1].split("\n\n")[0]
    return {name: tuple(re.findall(r"`([a-z_]+)`", text)) for name, text in ROW.findall(table)}


def test_the_documentation_explains_each_metric_and_no_other():
    assert set(explained()) == {name_of(each) for each in METRICS}


def test_the_documentation_names_each_metrics_labels():
    labels = explained()

    for each in METRICS:
        assert labels[name_of(each)] == each._labelnames
