"""API v1 of users: the course's routes, codes and texts."""

from __future__ import annotations

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.auth import services
from apps.auth.api.serializers import (
    CurrentUserSerializer,
    NothingSerializer,
    SignInSerializer,
    SignUpSerializer,
    UserSerializer,
)
from apps.auth.models import User
from apps.core.identity import clear_session_cookie, set_session_cookie
from apps.core.schema import error_response
from apps.core.throttling import SignInThrottle, SignUpThrottle

EXAMPLE_USER = {"id": "65f1c0ffee65f1c0ffee65f1", "email": "ada@example.com"}
EXAMPLE_CREDENTIALS = OpenApiExample(
    "Ada",
    value={"email": "ada@example.com", "password": "correct horse battery"},
    request_only=True,
)
SIGNED_IN = OpenApiResponse(
    UserSerializer,
    description="Signed in: the cookie `session` holds the token, also good as a Bearer token.",
    examples=[OpenApiExample("Ada", value=EXAMPLE_USER)],
)
THROTTLED = error_response("Too many requests. Try again in 42 seconds.", "throttled")


class SignUp(APIView):
    throttle_classes = (SignUpThrottle,)

    @extend_schema(
        operation_id="signUp",
        summary="Sign up",
        tags=["users"],
        request=SignUpSerializer,
        examples=[EXAMPLE_CREDENTIALS],
        responses={
            201: SIGNED_IN,
            400: error_response("Email in use", "email_in_use", "email"),
            429: THROTTLED,
        },
        auth=[],
    )
    def post(self, request: Request) -> Response:
        form = SignUpSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        now = timezone.now()
        user = services.sign_up(**form.validated_data, now=now)
        return _signed_in(user, services.token_for(user, now=now), status.HTTP_201_CREATED)


class SignIn(APIView):
    throttle_classes = (SignInThrottle,)

    @extend_schema(
        operation_id="signIn",
        summary="Sign in",
        tags=["users"],
        request=SignInSerializer,
        examples=[EXAMPLE_CREDENTIALS],
        responses={
            200: SIGNED_IN,
            400: error_response("Invalid credentials", "invalid_credentials"),
            429: THROTTLED,
        },
        auth=[],
    )
    def post(self, request: Request) -> Response:
        form = SignInSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        now = timezone.now()
        user = services.sign_in(**form.validated_data, now=now)
        return _signed_in(user, services.token_for(user, now=now), status.HTTP_200_OK)


class SignOut(APIView):
    @extend_schema(
        operation_id="signOut",
        summary="Sign out",
        description="Clears the cookie. Good without one, too.",
        tags=["users"],
        request=None,
        responses={200: NothingSerializer},
        auth=[],
    )
    def post(self, request: Request) -> Response:  # noqa: ARG002
        response = Response({})
        clear_session_cookie(response)
        return response


class CurrentUser(APIView):
    @extend_schema(
        operation_id="currentUser",
        summary="Who am I?",
        description="Past half of its life, a cookie's token is replaced by a new one here.",
        tags=["users"],
        responses={
            200: OpenApiResponse(
                CurrentUserSerializer,
                examples=[
                    OpenApiExample(
                        "Signed in", value={"currentUser": EXAMPLE_USER | {"iat": 1764000000}}
                    ),
                    OpenApiExample("A stranger", value={"currentUser": None}),
                ],
            )
        },
    )
    def get(self, request: Request) -> Response:
        return Response(CurrentUserSerializer({"current_user": request.user}).data)


def _signed_in(user: User, token: str, http_status: int) -> Response:
    response = Response(UserSerializer(user).data, status=http_status)
    set_session_cookie(response, token)
    return response
