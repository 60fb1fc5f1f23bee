"""A service with the ground that core gives to each, and a few views to be refused by."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import messages
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import Conflict, Invalid, NotAllowed, NotFound, NotSignedIn
from apps.core.identity import SignedIn, principal_required
from apps.core.throttling import SignInThrottle
from apps.core.urls import api_path, service_urls

REFUSALS = {
    "invalid": Invalid("Price must be greater than 0", code="price", field="priceCents"),
    "stranger": NotSignedIn(),
    "forbidden": NotAllowed("Not yours"),
    "missing": NotFound(),
    "conflict": Conflict("Ticket is already reserved", code="already_reserved"),
    "outage": OperationalError("connection refused"),
}


class Echo(APIView):
    def post(self, request: Request) -> Response:
        return Response({"was_read": request.data})


class Mine(APIView):
    permission_classes: ClassVar[Any] = [SignedIn]

    def get(self, request: Request) -> Response:
        return Response({"owner_id": request.user.id})

    def post(self, request: Request) -> Response:
        return Response({"owner_id": request.user.id})


class Refuse(APIView):
    def get(self, request: Request, kind: str) -> Response:  # noqa: ARG002
        raise REFUSALS[kind]


class OncePerMinute(SignInThrottle):
    rate = "1/min"


class Rare(APIView):
    throttle_classes: ClassVar[Any] = [OncePerMinute]

    def get(self, request: Request) -> Response:  # noqa: ARG002
        return Response({})


@principal_required
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.principal.email)


def broken(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError


def outage(request: HttpRequest) -> HttpResponse:
    raise OperationalError


def say(request: HttpRequest) -> HttpResponse:
    messages.error(request, "Somebody else was faster")
    return HttpResponse()


def renew_during_an_outage(principal, *, now):
    raise OperationalError


def renew_to_nothing(principal, *, now):
    return ""


urlpatterns = [
    *service_urls(settings.SERVICE_NAME),
    api_path("api/echo", Echo.as_view()),
    api_path("api/mine", Mine.as_view()),
    api_path("api/rare", Rare.as_view()),
    api_path("api/refuse/<str:kind>", Refuse.as_view()),
    path("api/broken", broken),
    path("page/", page),
    path("broken/", broken),
    path("outage/", outage),
    path("say/", say),
]
handler404 = "apps.core.http.page_not_found"
handler500 = "apps.core.http.server_error"
handler403 = "apps.core.http.permission_denied"
handler400 = "apps.core.http.bad_request"
