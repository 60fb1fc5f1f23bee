"""The pages: the list at the root, the rest below /tickets/."""

from __future__ import annotations

from django.urls import path

from apps.tickets.web import views

app_name = "tickets"
urlpatterns = [
    path("", views.index, name="index"),
    path("tickets/new/", views.new, name="new"),
    path("tickets/mine/", views.mine, name="mine"),
    path("tickets/<str:ticket_id>/", views.show, name="show"),
    path("tickets/<str:ticket_id>/edit/", views.edit, name="edit"),
    path("tickets/<str:ticket_id>/withdraw/", views.withdraw, name="withdraw"),
    path("tickets/<str:ticket_id>/relist/", views.relist, name="relist"),
]
