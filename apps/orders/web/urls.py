from __future__ import annotations

from django.urls import path

from apps.orders.web import views

app_name = "orders"
urlpatterns = [
    path("", views.order_list, name="list"),
    path("reserve/", views.reserve, name="reserve"),
    path("<str:order_id>/", views.order_page, name="order"),
    path("<str:order_id>/cancel/", views.cancel, name="cancel"),
]
