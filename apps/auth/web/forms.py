"""The forms of the account pages. They say the same as the API does."""

from __future__ import annotations

import unicodedata
from typing import Any

from django import forms

from apps.auth.models import LONGEST_EMAIL, LONGEST_PASSWORD, SHORTEST_PASSWORD, normalize_email

EMAIL_MESSAGE = "Email must be valid"
PASSWORD_MESSAGE = f"Password must be between {SHORTEST_PASSWORD} and {LONGEST_PASSWORD} characters"
NO_PASSWORD_MESSAGE = "You must supply a password"  # noqa: S105


class EmailField(forms.EmailField):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            label=options.pop("label", "E-mail"),
            max_length=LONGEST_EMAIL,
            error_messages=dict.fromkeys(("required", "invalid", "max_length"), EMAIL_MESSAGE),
            widget=forms.EmailInput(attrs={"autocomplete": "username", "spellcheck": "false"}),
            **options,
        )

    def clean(self, value: Any) -> str:  # noqa: ANN401
        email: str = super().clean(value)
        return normalize_email(email)


class PasswordField(forms.CharField):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            label=options.pop("label", "Password"),
            error_messages={"required": NO_PASSWORD_MESSAGE},
            widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            **options,
        )


class NewPasswordField(forms.CharField):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401
        super().__init__(
            label=options.pop("label", "Password"),
            help_text=f"At least {SHORTEST_PASSWORD} characters. Three or four words do well.",
            min_length=SHORTEST_PASSWORD,
            max_length=LONGEST_PASSWORD,
            error_messages=dict.fromkeys(
                ("required", "min_length", "max_length"), PASSWORD_MESSAGE
            ),
            widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
            **options,
        )

    def clean(self, value: Any) -> str:  # noqa: ANN401
        password: str = super().clean(value)
        if any(unicodedata.category(character) == "Cc" for character in password):
            raise forms.ValidationError("Password must not contain control characters")
        return password


class SignUpForm(forms.Form):
    email = EmailField()
    password = NewPasswordField()


class SignInForm(forms.Form):
    email = EmailField()
    password = PasswordField()


class ChangeEmailForm(forms.Form):
    email = EmailField(label="New e-mail")
    current_password = PasswordField(label="Current password")


class ChangePasswordForm(forms.Form):
    current_password = PasswordField(label="Current password")
    new_password = NewPasswordField(label="New password")
