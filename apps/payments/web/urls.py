from __future__ import annotations

from django.urls import path

from apps.payments.web import views

app_name = "payments"
urlpatterns = [
    path("webhook/", views.webhook, name="webhook"),
    path("<str:order_id>/", views.pay_page, name="pay"),
]
