"""OpenAPI, in the names that the API really speaks."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from apps.core.http import camelize
from apps.core.identity import COOKIE


class TokenSchemes(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the API learns who is asking. spectacular finds it once this module is imported."""

    target_class = "apps.core.identity.JWTAuthentication"
    name = ["bearer", "cookie"]  # noqa: RUF012 (its type is the base class's)

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:  # noqa: ANN401, ARG002
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {"type": "apiKey", "in": "cookie", "name": COOKIE},
        ]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:  # noqa: ANN401, ARG002
        """Ask for either of them; in one mapping they would be asked for together."""
        return [{name: []} for name in self.name]


class ErrorSerializer(serializers.Serializer[Any]):
    """What was wrong with the request."""

    message = serializers.CharField(help_text="For a person.")
    code = serializers.CharField(help_text="For a program: stable, in snake_case.")
    field = serializers.CharField(required=False, help_text="The field at fault, if it is one.")


class ErrorsSerializer(serializers.Serializer[Any]):
    """Every error of the API has this shape."""

    errors = ErrorSerializer(many=True)  # type: ignore[assignment]


def error_response(message: str, code: str, field: str = "") -> OpenApiResponse:
    """Return the schema's entry for an error, with an example of it."""
    error = {"message": message, "code": code} | ({"field": field} if field else {})
    return OpenApiResponse(
        ErrorsSerializer,
        description=message,
        examples=[OpenApiExample(message, value={"errors": [error]})],
    )


def camelize_properties(
    result: Any,  # noqa: ANN401
    generator: Any,  # noqa: ANN401, ARG001
    request: Any,  # noqa: ANN401, ARG001
    public: bool,  # noqa: ARG001, FBT001
) -> Any:  # noqa: ANN401
    """Rename all properties as CamelCaseJSONRenderer does. A hook of drf-spectacular."""
    _camelize(result)
    return result


def _camelize(node: Any) -> None:  # noqa: ANN401
    if isinstance(node, list):
        for each in node:
            _camelize(each)
    elif isinstance(node, dict):
        if isinstance(properties := node.get("properties"), dict):
            node["properties"] = {camelize(name): value for name, value in properties.items()}
            if isinstance(required := node.get("required"), list):
                node["required"] = [camelize(name) for name in required]
        if node.get("in") == "query" and isinstance(name := node.get("name"), str):
            node["name"] = camelize(name)
        for each in node.values():
            _camelize(each)
