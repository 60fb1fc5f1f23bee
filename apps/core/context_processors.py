"""What every template can see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Give templates the person, the services' names and the brand's."""
    return {
        "principal": getattr(request, "principal", None),
        "service_name": settings.SERVICE_NAME,
        "services": settings.SERVICES,
        "brand": settings.SITE_NAME,
    }
