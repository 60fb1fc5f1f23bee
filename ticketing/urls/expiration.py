"""What the expiration service serves."""

from __future__ import annotations

from apps.core.urls import service_urls

urlpatterns = [
    *service_urls("expiration"),
]
