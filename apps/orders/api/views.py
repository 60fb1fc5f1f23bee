from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.utils import timezone
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import status
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from apps.core.http import underscore
from apps.core.identity import SignedIn
from apps.core.schema import ErrorsSerializer
from apps.orders import selectors, services
from apps.orders.api.serializers import (
    OrderPageSerializer,
    OrderQuerySerializer,
    OrderSerializer,
    ReservationSerializer,
    order_json,
)

if TYPE_CHECKING:
    from rest_framework.request import Request

ORDER = {
    "id": "019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7",
    "userId": "019ab3b8-2f0a-7d11-8f4e-1f6d2f7c9b55",
    "status": "created",
    "expiresAt": "2026-11-23T18:45:00.000000Z",
    "ticketId": "019ab3bb-77c2-7a90-b1f4-7f0a4be1c2d3",
    "version": 1,
    "ticket": {
        "id": "019ab3bb-77c2-7a90-b1f4-7f0a4be1c2d3",
        "title": "Front row, Saturday",
        "price": 12.5,
        "version": 1,
    },
}


def _refusal(description: str, *errors: dict[str, str]) -> OpenApiResponse:
    """Describe an error answer by an example of each of its causes."""
    return OpenApiResponse(
        ErrorsSerializer,
        description=description,
        examples=[
            OpenApiExample(error["message"], value={"errors": [error]}, response_only=True)
            for error in errors
        ],
    )


STRANGER = _refusal(
    "Nobody is signed in, or the order is another's.",
    {"message": "Not authorized", "code": "not_authorized"},
)
UNKNOWN = _refusal(
    "There is no such thing, or its id is malformed.",
    {"message": "Not Found", "code": "order_not_found"},
)
THROTTLED = _refusal(
    "Too many requests.",
    {"message": "Too many requests. Try again in 3 seconds.", "code": "throttled"},
)
EXAMPLE = OpenApiExample("A reserved ticket", value=ORDER, response_only=True)


class BuyerView(APIView):
    """Answers the signed-in buyer alone."""

    permission_classes = (SignedIn,)
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "orders"

    @staticmethod
    def buyer_id(request: Request) -> str:
        return str(request.user.pk)


class OrdersView(BuyerView):
    @extend_schema(
        operation_id="list_orders",
        summary="List your orders",
        description=(
            "Your own orders, the ended ones included, oldest first. Without parameters: a plain "
            "array of all. With either of them: one page, with what is needed to ask for others."
        ),
        tags=["orders"],
        parameters=[OrderQuerySerializer],
        responses={
            200: OpenApiResponse(
                PolymorphicProxySerializer(
                    "OrdersOrPage",
                    [OrderSerializer(many=True), OrderPageSerializer],
                    resource_type_field_name=None,
                    many=False,
                ),
                examples=[
                    OpenApiExample("All", value=[ORDER]),
                    OpenApiExample(
                        "A page",
                        value={
                            "orders": [ORDER],
                            "page": 1,
                            "pageSize": 24,
                            "total": 1,
                            "pages": 1,
                        },
                    ),
                ],
            ),
            400: _refusal(
                "There is no such page.",
                {
                    "message": "Ensure this value is greater than or equal to 1.",
                    "code": "min_value",
                    "field": "page",
                },
            ),
            401: STRANGER,
            429: THROTTLED,
        },
    )
    def get(self, request: Request) -> Response:
        orders = selectors.list_orders(buyer_id=self.buyer_id(request))
        asked = {underscore(name): value for name, value in request.query_params.items()}
        if asked.keys().isdisjoint(OrderQuerySerializer().fields):
            return Response(OrderSerializer(orders, many=True).data)
        query = OrderQuerySerializer(data=asked)
        query.is_valid(raise_exception=True)
        paginator = Paginator(orders, query.validated_data["page_size"])
        number = query.validated_data["page"]
        rows = paginator.page(number).object_list if number in paginator.page_range else []
        page = {
            "orders": rows,
            "page": number,
            "page_size": paginator.per_page,
            "total": paginator.count,
            "pages": paginator.num_pages if paginator.count else 0,
        }
        return Response(OrderPageSerializer(page).data)

    @extend_schema(
        operation_id="create_order",
        summary="Reserve a ticket",
        description=(
            "Holds the ticket for you until `expiresAt`. Of many buyers who ask at the same "
            "moment one is answered 201, all others 400."
        ),
        tags=["orders"],
        request=ReservationSerializer,
        examples=[
            OpenApiExample("Reserve", value={"ticketId": ORDER["ticketId"]}, request_only=True),
        ],
        responses={
            201: OpenApiResponse(OrderSerializer, examples=[EXAMPLE]),
            400: _refusal(
                "The ticket's id is missing, or somebody holds the ticket.",
                {
                    "message": "TicketId must be provided",
                    "code": "required",
                    "field": "ticketId",
                },
                {"message": "Ticket is already reserved", "code": "ticket_already_reserved"},
            ),
            401: STRANGER,
            404: _refusal(
                "There is no such ticket, or it was withdrawn.",
                {"message": "Not Found", "code": "ticket_not_found"},
            ),
            429: THROTTLED,
        },
    )
    def post(self, request: Request) -> Response:
        reservation = ReservationSerializer(data=request.data)
        reservation.is_valid(raise_exception=True)
        order = services.create_order(
            ticket_id=reservation.validated_data["ticket_id"],
            buyer_id=self.buyer_id(request),
            now=timezone.now(),
        )
        return Response(order_json(order), status=status.HTTP_201_CREATED)


class OrderView(BuyerView):
    @extend_schema(
        operation_id="get_order",
        summary="Look at one of your orders",
        tags=["orders"],
        responses={
            200: OpenApiResponse(OrderSerializer, examples=[EXAMPLE]),
            401: STRANGER,
            404: UNKNOWN,
            429: THROTTLED,
        },
    )
    def get(self, request: Request, order_id: str) -> Response:
        order = selectors.get_order(order_id=order_id, buyer_id=self.buyer_id(request))
        return Response(order_json(order))

    @extend_schema(
        operation_id="cancel_order",
        summary="Cancel one of your orders",
        description=(
            "Frees the ticket. Cancelling again changes nothing and is answered alike. A paid "
            "order can be cancelled where and as long as the operator allows it; the money goes "
            "back then."
        ),
        tags=["orders"],
        responses={
            204: OpenApiResponse(description="The order is cancelled."),
            400: _refusal(
                "The order is paid, or was paid too long ago.",
                {"message": "A paid order cannot be cancelled", "code": "order_already_paid"},
                {
                    "message": "The time in which a paid order could be cancelled is over",
                    "code": "cancellation_over",
                },
            ),
            401: STRANGER,
            404: UNKNOWN,
            429: THROTTLED,
        },
    )
    def delete(self, request: Request, order_id: str) -> Response:
        services.cancel_order(
            order_id=order_id, buyer_id=self.buyer_id(request), now=timezone.now()
        )
        return Response(status=status.HTTP_204_NO_CONTENT)
