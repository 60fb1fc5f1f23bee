"""What the expiration service serves."""

from __future__ import annotations

from apps.core.urls import service_urls

urlpatterns = [
    *service_urls("expiration"),
]
handler404 = "apps.core.http.page_not_found"
handler500 = "apps.core.http.server_error"
handler403 = "apps.core.http.permission_denied"
handler400 = "apps.core.http.bad_request"
