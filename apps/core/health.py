"""Whether the process lives, and whether it can do its work."""

from __future__ import annotations

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from pymongo.errors import PyMongoError

PROBE_TIMEOUT_SECONDS = 2


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 as long as the process can answer: only a restart would help one that cannot."""
    return JsonResponse({"status": "ok", "service": settings.SERVICE_NAME})


@never_cache
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 when the database answers, else 503: the process waits and needs no restart."""
    try:
        ping_database()
    except (DatabaseError, PyMongoError) as exc:
        return JsonResponse(
            {
                "status": "unavailable",
                "service": settings.SERVICE_NAME,
                "database": type(exc.__cause__ or exc).__name__,
            },
            status=503,
        )
    return JsonResponse({"status": "ok", "service": settings.SERVICE_NAME, "database": "ok"})


def ping_database() -> None:
    """Ask the service's database for a sign of life; raises what its driver raises."""
    connection.ensure_connection()
    if connection.vendor == "mongodb":
        connection.database.command("ping", maxTimeMS=PROBE_TIMEOUT_SECONDS * 1000)  # type: ignore[attr-defined]
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
