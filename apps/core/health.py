"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pymongo.errors import PyMongoError

from apps.core import metrics
from apps.outbox.monitoring import split_address

PROBE_TIMEOUT_SECONDS = 2


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 as long as the process can answer: only a restart would help one that cannot."""
    return JsonResponse({"status": "ok", "service": settings.SERVICE_NAME})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 when the database answers, else 503: the process waits and needs no restart."""
    return readiness(connection)


@never_cache
def scrape(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus on METRICS_ADDRESS, and nobody on the port that the gateway knows.

    Raises:
        Http404: it was asked for on another port.
    """
    address = settings.METRICS_ADDRESS
    if not address or request.META["SERVER_PORT"] != str(split_address(address)[1]):
        raise Http404
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def readiness(conn: Any) -> JsonResponse:  # noqa: ANN401
    """Ask the database behind `conn` for a sign of life, and put the answer into words."""
    facts = {"status": "ok", "service": settings.SERVICE_NAME, "database": "ok"}
    try:
        _ping(conn)
    except (DatabaseError, PyMongoError) as exc:
        reason = type(exc.__cause__ or exc).__name__
        return JsonResponse(facts | {"status": "unavailable", "database": reason}, status=503)
    return JsonResponse(facts)


def _ping(conn: Any) -> None:  # noqa: ANN401
    if conn.vendor == "mongodb":
        conn.database.command("ping", maxTimeMS=PROBE_TIMEOUT_SECONDS * 1000)
        return
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1")
