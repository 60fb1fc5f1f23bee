from __future__ import annotations

from apps.core.urls import api_path
from apps.orders.api.views import OrdersView, OrderView

urlpatterns = [
    api_path("", OrdersView.as_view(), name="api-orders"),
    api_path("/<str:order_id>", OrderView.as_view(), name="api-order"),
]
