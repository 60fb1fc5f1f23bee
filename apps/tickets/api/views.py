"""API v1 of tickets: each view translates, and makes one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.http import underscore
from apps.core.identity import SignedIn
from apps.core.schema import error_response
from apps.tickets import selectors, services
from apps.tickets.api.serializers import (
    TicketBodySerializer,
    TicketPageSerializer,
    TicketQuerySerializer,
    TicketSerializer,
)
from apps.tickets.models import PRICE_TOO_LOW, TITLE_REQUIRED, Ticket
from apps.tickets.selectors import Sort

EXAMPLE: Final[dict[str, Any]] = {
    "id": "6751c1f0a9d4e5b2c3f4a5b6",
    "title": "Northern Lights Quartet, row 4",
    "price": 42.5,
    "userId": "0193a1b2c3d4e5f60718293a",
    "version": 1,
}
RESERVED_EXAMPLE: Final = EXAMPLE | {
    "version": 2,
    "orderId": "0193a1b2-c3d4-7e5f-8071-8293a4b5c6d7",
}
BODY_EXAMPLES: Final = [
    OpenApiExample("A number", value={"title": EXAMPLE["title"], "price": 42.5}, request_only=True),
    OpenApiExample(
        "Numeric text", value={"title": EXAMPLE["title"], "price": "42.50"}, request_only=True
    ),
]
INVALID: Final = OpenApiResponse(
    error_response(PRICE_TOO_LOW, "price_invalid", "price").response,
    description="The title or the price breaks a rule, or the request is not valid JSON.",
    examples=[
        OpenApiExample(
            "Both wrong",
            value={
                "errors": [
                    {"message": TITLE_REQUIRED, "code": "title_required", "field": "title"},
                    {"message": PRICE_TOO_LOW, "code": "price_invalid", "field": "price"},
                ]
            },
        ),
    ],
)
NOT_SIGNED_IN: Final = error_response("Not authorized", "not_authorized")
NOT_FOUND: Final = error_response("Not Found", "ticket_not_found")


def _listed(tickets: Iterable[Ticket]) -> list[dict[str, Any]]:
    shape = TicketSerializer()
    return [shape.to_representation(ticket) for ticket in tickets]


class _ReadableByAll(APIView):
    """Anybody may look; changing something takes a person."""

    def get_permissions(self) -> list[BasePermission]:
        return [] if self.request.method in {"GET", "HEAD", "OPTIONS"} else [SignedIn()]


class TicketsView(_ReadableByAll):
    @extend_schema(
        operation_id="list_tickets",
        summary="List the tickets that are free",
        description=(
            "Without parameters: a plain array of all free tickets, oldest first. With any of "
            "them: one page, with what is needed to ask for the others."
        ),
        tags=["tickets"],
        auth=[],
        parameters=[TicketQuerySerializer],
        responses={
            200: OpenApiResponse(
                PolymorphicProxySerializer(
                    "TicketsOrPage",
                    [TicketSerializer(many=True), TicketPageSerializer],
                    resource_type_field_name=None,
                    many=False,
                ),
                examples=[
                    OpenApiExample("All", value=[EXAMPLE]),
                    OpenApiExample(
                        "A page",
                        value={
                            "tickets": [EXAMPLE],
                            "page": 1,
                            "pageSize": 24,
                            "total": 1,
                            "pages": 1,
                        },
                    ),
                ],
            ),
            400: error_response(
                "Ensure this value is greater than or equal to 1.", "min_value", "page"
            ),
        },
    )
    def get(self, request: Request) -> Response:
        asked = {underscore(name): value for name, value in request.query_params.items()}
        if asked.keys().isdisjoint(TicketQuerySerializer().fields):
            return Response(_listed(selectors.list_free_tickets()))
        query = TicketQuerySerializer(data=asked)
        query.is_valid(raise_exception=True)
        page, size = query.validated_data["page"], query.validated_data["page_size"]
        listing = selectors.list_free_tickets(
            search=query.validated_data["q"], sort=Sort(query.validated_data["sort"])
        )
        total = len(listing)
        return Response(
            {
                "tickets": _listed(listing[(page - 1) * size : page * size]),
                "page": page,
                "page_size": size,
                "total": total,
                "pages": -(-total // size),
            }
        )

    @extend_schema(
        operation_id="create_ticket",
        summary="List a ticket for sale",
        tags=["tickets"],
        request=TicketBodySerializer,
        examples=BODY_EXAMPLES,
        responses={
            201: OpenApiResponse(
                TicketSerializer, examples=[OpenApiExample("Listed", value=EXAMPLE)]
            ),
            400: INVALID,
            401: NOT_SIGNED_IN,
        },
    )
    def post(self, request: Request) -> Response:
        body = TicketBodySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        ticket = services.create_ticket(
            seller_id=str(request.user.pk),
            title=body.validated_data["title"],
            price_cents=body.validated_data["price"],
            now=timezone.now(),
        )
        return Response(TicketSerializer(ticket).data, status=status.HTTP_201_CREATED)


class TicketView(_ReadableByAll):
    @extend_schema(
        operation_id="get_ticket",
        summary="Get a ticket",
        description="A withdrawn ticket is there for its seller alone.",
        tags=["tickets"],
        responses={
            200: OpenApiResponse(
                TicketSerializer,
                examples=[
                    OpenApiExample("Free", value=EXAMPLE),
                    OpenApiExample("Reserved", value=RESERVED_EXAMPLE),
                ],
            ),
            404: NOT_FOUND,
        },
    )
    def get(self, request: Request, ticket_id: str) -> Response:
        viewer_id = getattr(request.user, "pk", None)
        ticket = selectors.get_visible_ticket(ticket_id, viewer_id=viewer_id)
        return Response(TicketSerializer(ticket).data)

    @extend_schema(
        operation_id="update_ticket",
        summary="Change a ticket of one's own that nobody holds",
        tags=["tickets"],
        request=TicketBodySerializer,
        examples=BODY_EXAMPLES,
        responses={
            200: OpenApiResponse(
                TicketSerializer,
                examples=[OpenApiExample("Changed", value=EXAMPLE | {"version": 2})],
            ),
            400: error_response("Cannot edit a reserved ticket", "ticket_reserved"),
            401: NOT_SIGNED_IN,
            404: NOT_FOUND,
        },
    )
    def put(self, request: Request, ticket_id: str) -> Response:
        body = TicketBodySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        ticket = services.update_ticket(
            ticket_id=ticket_id,
            seller_id=str(request.user.pk),
            title=body.validated_data["title"],
            price_cents=body.validated_data["price"],
            now=timezone.now(),
        )
        return Response(TicketSerializer(ticket).data)
