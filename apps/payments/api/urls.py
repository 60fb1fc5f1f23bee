from __future__ import annotations

from apps.core.urls import api_path
from apps.payments.api.views import PaymentsView

urlpatterns = [api_path("", PaymentsView.as_view(), name="api-payments")]
