from __future__ import annotations

from django.urls import path
from django.views.generic import RedirectView

from apps.auth.web import views

app_name = "accounts"
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="accounts:account")),
    path("signup/", views.sign_up, name="signup"),
    path("signin/", views.sign_in, name="signin"),
    path("signout/", views.sign_out, name="signout"),
    path("account/", views.account, name="account"),
]
