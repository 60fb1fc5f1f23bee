"""What every template can see."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Give templates the person, the service's name and the brand's."""
    return {
        "principal": getattr(request, "principal", None),
        "service_name": settings.SERVICE_NAME,
        "brand": settings.SITE_NAME,
    }
