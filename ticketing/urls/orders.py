"""What the orders service serves."""

from __future__ import annotations

from django.urls import include, path

from apps.core.urls import service_urls

urlpatterns = [
    *service_urls("orders"),
    path("api/orders", include("apps.orders.api.urls")),
    path("orders/", include("apps.orders.web.urls")),
]
handler404 = "apps.core.http.page_not_found"
handler500 = "apps.core.http.server_error"
handler403 = "apps.core.http.permission_denied"
handler400 = "apps.core.http.bad_request"
