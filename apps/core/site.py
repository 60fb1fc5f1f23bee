"""The admin's site: one sign-on for the staff of all services."""

from __future__ import annotations

import functools
from typing import Any
from urllib.parse import unquote

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect

from apps.core.identity import clear_session_cookie, sign_in_address


class StaffSite(AdminSite):
    site_header = settings.SITE_NAME
    site_title = f"{settings.SITE_NAME} administration"
    index_title = "Administration"
    site_url = "/"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 (Django's signature)
        """Refuse addresses with a NUL: PostgreSQL takes it in no text, not even to look for it."""
        inner = super().admin_view(view, cacheable)

        @functools.wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ANN401
            if "\x00" in unquote(request.get_full_path()):
                raise Http404
            response: HttpResponse = inner(request, *args, **kwargs)
            return response

        return guarded

    def login(
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Send whoever is not staff to the one sign-in page.

        PrincipalMiddleware has already recognised the staff, so there is no form here.
        """
        back = request.GET.get("next", "")
        if not back.startswith(f"/{_service(request)}/admin/"):
            back = f"/{_service(request)}/admin/"
        if self.has_permission(request):
            return HttpResponseRedirect(back)
        if getattr(request, "principal", None) is None:
            return HttpResponseRedirect(sign_in_address(back))
        # Sending them to sign in would lead them back here, round and round.
        raise PermissionDenied

    def logout(  # type: ignore[override]
        self,
        request: HttpRequest,
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Sign out of everything."""
        response = HttpResponseRedirect("/auth/signin/")
        if request.method == "POST":
            clear_session_cookie(response)
        return response

    def password_change(  # type: ignore[override]
        self,
        request: HttpRequest,  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Passwords are changed where they live."""
        return HttpResponseRedirect("/auth/account/")


def _service(request: HttpRequest) -> str:
    return request.path.split("/")[1]
