from __future__ import annotations

from django.urls import path

from apps.payments.web import views

app_name = "payments"
urlpatterns = [
    path("webhook/", views.webhook, name="webhook"),
    path("<str:order_id>/", views.pay_page, name="pay"),
    path("<str:order_id>/return/", views.return_page, name="return"),
    path("<str:order_id>/another-card/", views.use_another_card, name="another_card"),
]
