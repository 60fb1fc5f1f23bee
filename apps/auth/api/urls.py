from __future__ import annotations

from apps.auth.api import views
from apps.core.urls import api_path

app_name = "accounts-api"
urlpatterns = [
    api_path("signup", views.SignUp.as_view(), name="signup"),
    api_path("signin", views.SignIn.as_view(), name="signin"),
    api_path("signout", views.SignOut.as_view(), name="signout"),
    api_path("currentuser", views.CurrentUser.as_view(), name="currentuser"),
]
