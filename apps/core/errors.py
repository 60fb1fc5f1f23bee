"""Refusals that a service anticipates. Each has one of four kinds; core.http gives it a status."""

from __future__ import annotations

from typing import Any, ClassVar


class DomainError(Exception):
    """A request that cannot be granted, for a reason that the person can read and act upon.

    Args:
        message: what is wrong and what to do, for a person.
        code: stable and machine-readable, snake_case.
        field: the request's field at fault, in the API's camelCase.
        extra: further facts for the log.
    """

    code: ClassVar[str] = "error"

    def __init__(
        self, message: str, *, code: str = "", field: str = "", extra: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.field = field
        self.extra = extra or {}


class Invalid(DomainError):
    """The request is malformed or breaks a rule: 400."""

    code = "invalid"


class NotSignedIn(DomainError):
    """Nobody, or the wrong person: 401, as the course's API answers both."""

    code = "not_authorized"

    def __init__(self, message: str = "Not authorized", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, **details)


class NotAllowed(DomainError):
    """The person may not do this: 403."""

    code = "not_allowed"


class NotFound(DomainError):
    """There is no such thing, or its id is malformed: 404."""

    code = "not_found"

    def __init__(self, message: str = "Not Found", **details: Any) -> None:  # noqa: ANN401
        super().__init__(message, **details)


class Conflict(DomainError):
    """The thing is not in a state that allows this: 400 in API v1, whose clients expect that."""

    code = "conflict"


class TooOften(DomainError):
    """It was tried too often, and may be tried again later: 429."""

    code = "too_often"
