"""The shape of what comes in and goes out."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.auth.models import LONGEST_EMAIL, LONGEST_PASSWORD, SHORTEST_PASSWORD, normalize_email

EMAIL_MESSAGE = "Email must be valid"
PASSWORD_MESSAGE = f"Password must be between {SHORTEST_PASSWORD} and {LONGEST_PASSWORD} characters"
NO_PASSWORD_MESSAGE = "You must supply a password"  # noqa: S105


@extend_schema_field({"type": "string", "format": "email", "maxLength": LONGEST_EMAIL})
class EmailField(serializers.Field[str, Any, str, Any]):
    """An address in its one form. Whatever is wrong with it, the message is the course's."""

    default_error_messages: ClassVar = {
        "required": EMAIL_MESSAGE,
        "null": EMAIL_MESSAGE,
        "invalid": EMAIL_MESSAGE,
    }

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401
        if not isinstance(data, str) or len(data) > LONGEST_EMAIL:
            self.fail("invalid")
        email = normalize_email(data)
        try:
            validate_email(email)
        except ValidationError:
            self.fail("invalid")
        return email

    def to_representation(self, value: str) -> str:
        return value


@extend_schema_field(
    {
        "type": "string",
        "format": "password",
        "minLength": SHORTEST_PASSWORD,
        "maxLength": LONGEST_PASSWORD,
    }
)
class NewPasswordField(serializers.Field[str, Any, str, Any]):
    """A password to be; spaces around it do not count, as in the course."""

    default_error_messages: ClassVar = {
        "required": PASSWORD_MESSAGE,
        "null": PASSWORD_MESSAGE,
        "invalid": PASSWORD_MESSAGE,
        "control_characters": "Password must not contain control characters",
    }

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401
        if not isinstance(data, str):
            self.fail("invalid")
        password = data.strip()
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            self.fail("invalid")
        if any(unicodedata.category(character) == "Cc" for character in password):
            self.fail("control_characters")
        return password


@extend_schema_field({"type": "string", "format": "password"})
class PasswordField(serializers.Field[str, Any, str, Any]):
    """A password as it is: any text."""

    default_error_messages: ClassVar = {
        "required": NO_PASSWORD_MESSAGE,
        "null": NO_PASSWORD_MESSAGE,
        "invalid": NO_PASSWORD_MESSAGE,
    }

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401
        if not isinstance(data, str) or not data.strip():
            self.fail("invalid")
        return data.strip()


class SignUpSerializer(serializers.Serializer[Any]):
    email = EmailField()
    password = NewPasswordField(write_only=True)


class SignInSerializer(serializers.Serializer[Any]):
    email = EmailField()
    password = PasswordField(write_only=True)


class UserSerializer(serializers.Serializer[Any]):
    """A user, as the person themselves sees it."""

    id = serializers.CharField(source="pk")
    email = serializers.EmailField()


class BearerSerializer(serializers.Serializer[Any]):
    """The bearer of a token."""

    id = serializers.CharField()
    email = serializers.EmailField()
    iat = serializers.IntegerField(
        source="issued_at", help_text="When the token was issued, in seconds since 1970."
    )


class CurrentUserSerializer(serializers.Serializer[Any]):
    current_user = BearerSerializer(allow_null=True)


class NothingSerializer(serializers.Serializer[Any]):
    """An empty object."""
