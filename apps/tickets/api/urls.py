"""The API below /api/tickets."""

from __future__ import annotations

from apps.core.urls import api_path
from apps.tickets.api.views import TicketsView, TicketView

urlpatterns = [
    api_path("", TicketsView.as_view()),
    api_path("/<str:ticket_id>", TicketView.as_view()),
]
