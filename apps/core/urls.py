"""The addresses that every service has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.checks import CheckMessage
from django.http import HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from django.urls.resolvers import RoutePattern
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.core import health


class ApiPattern(RoutePattern):
    """A route that also matches with a slash at its end, which Express did not mind either."""

    def match(self, path: str) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        found: tuple[str, tuple[Any, ...], dict[str, Any]] | None = super().match(
            path.removesuffix("/")
        )
        return found

    def check(self) -> list[CheckMessage]:
        """Let a route begin with a slash: the prefix that includes it ends without one."""
        return []


def api_path(
    route: str, view: Callable[..., HttpResponseBase], name: str | None = None
) -> URLPattern:
    """Return a URL of the API, good with and without a slash at its end.

    Args:
        route: as for django.urls.path, without the closing slash: "" or "/<str:ticket_id>".
        view: the view, already `.as_view()`.
        name: as for django.urls.path.
    """
    return URLPattern(ApiPattern(route, name=name, is_endpoint=True), view, None, name)


def service_urls(service: str) -> list[URLPattern | URLResolver]:
    """Return what every service serves: probes, metrics, admin, API schema and its page."""
    return [
        path("healthz", health.healthz, name="healthz"),
        path("readyz", health.readyz, name="readyz"),
        path("metrics", health.scrape, name="metrics"),
        path(f"{service}/admin/", admin.site.urls),
        path(f"{service}/api/schema/", SpectacularAPIView.as_view(), name="schema"),
        path(
            f"{service}/api/docs/",
            SpectacularSwaggerSplitView.as_view(template_name="core/api_docs.html"),
            name="api-docs",
        ),
    ]
