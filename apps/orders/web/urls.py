from __future__ import annotations

from django.urls import path

from apps.orders.web import verify, views

app_name = "orders"
urlpatterns = [
    path("", views.order_list, name="list"),
    path("reserve/", views.reserve, name="reserve"),
    path("verify/<str:token>/", verify.verify_pass, name="verify"),
    path("<str:order_id>/", views.order_page, name="order"),
    path("<str:order_id>/cancel/", views.cancel, name="cancel"),
]
