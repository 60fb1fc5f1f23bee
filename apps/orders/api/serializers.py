from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.orders.models import Order

PAGE_SIZE = 24
LARGEST_PAGE_SIZE = 100
LAST_PAGE = 1_000_000
TICKET_ID_MISSING = "TicketId must be provided"


class ReservationSerializer(serializers.Serializer[Any]):
    """What a buyer sends to reserve a ticket. Whether the ticket exists is the service's to say."""

    ticket_id = serializers.CharField(
        error_messages=dict.fromkeys(("required", "null", "blank", "invalid"), TICKET_ID_MISSING),
        help_text="The ticket to reserve.",
    )


class ReservedTicketSerializer(serializers.Serializer[Order]):
    """The ticket as it was when it was reserved."""

    id = serializers.CharField(source="ticket_id", help_text="The ticket.")
    title = serializers.CharField(source="ticket_title", help_text="What is sold.")
    price = serializers.SerializerMethodField(help_text="The price in the currency's major unit.")
    version = serializers.IntegerField(
        source="ticket_version", help_text="The ticket's version when it was reserved."
    )

    @extend_schema_field(float)
    def get_price(self, order: Order) -> float:
        return order.price_cents / 100


class OrderSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField(help_text="The order.")
    user_id = serializers.CharField(source="buyer_id", help_text="The user who reserved.")
    status = serializers.ChoiceField(
        choices=Order.Status.choices, help_text="Where the order stands."
    )
    expires_at = serializers.DateTimeField(help_text="When the reservation ends if it is not paid.")
    ticket_id = serializers.CharField(help_text="The ticket that the order claims.")
    version = serializers.IntegerField(help_text="One more with each change of the order.")
    ticket = ReservedTicketSerializer(source="*")


# Bound once: a serializer copies all its fields each time that it is made.
_order = OrderSerializer()


def order_json(order: Order) -> dict[str, Any]:
    """Return the API's answer about one order."""
    return _order.to_representation(order)


class OrderQuerySerializer(serializers.Serializer[Any]):
    """Which of the orders are wanted. Either parameter turns paging on."""

    page = serializers.IntegerField(
        min_value=1, max_value=LAST_PAGE, default=1, help_text="The page, from 1."
    )
    page_size = serializers.IntegerField(
        min_value=1,
        max_value=LARGEST_PAGE_SIZE,
        default=PAGE_SIZE,
        help_text="How many orders a page has.",
    )


class OrderPageSerializer(serializers.Serializer[Any]):
    """One page of the orders."""

    orders = OrderSerializer(many=True)
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    total = serializers.IntegerField(help_text="How many orders all pages have together.")
    pages = serializers.IntegerField()
