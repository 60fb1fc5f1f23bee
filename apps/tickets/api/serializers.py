"""The shapes of API v1. What is allowed in them is the model's to say."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.errors import Invalid
from apps.tickets.models import (
    CENTS,
    PRICE_TOO_LOW,
    TITLE_REQUIRED,
    Ticket,
    clean_title,
    parse_price,
)
from apps.tickets.selectors import SEARCH_LENGTH, Sort

PAGE_SIZE: Final = 24
LARGEST_PAGE_SIZE: Final = 100
LAST_PAGE: Final = 1_000_000


@extend_schema_field(OpenApiTypes.STR)
class TitleField(serializers.Field[str, Any, str, Any]):
    """A title, without white space around it."""

    default_error_messages: ClassVar = {
        "required": TITLE_REQUIRED,
        "null": TITLE_REQUIRED,
        "not_text": "Title must be text",
    }

    def to_internal_value(self, data: Any) -> str:  # noqa: ANN401
        if not isinstance(data, str):
            self.fail("not_text")
        try:
            return clean_title(data)
        except Invalid as exc:
            raise serializers.ValidationError(exc.message, code=exc.error_code) from exc


@extend_schema_field(OpenApiTypes.NUMBER)
class PriceField(serializers.Field[int, Any, float, Any]):
    """A price: minor units inside, a decimal number or text of one outside."""

    default_error_messages: ClassVar = {"required": PRICE_TOO_LOW, "null": PRICE_TOO_LOW}

    def to_internal_value(self, data: Any) -> int:  # noqa: ANN401
        try:
            return parse_price(data)
        except Invalid as exc:
            raise serializers.ValidationError(exc.message, code=exc.error_code) from exc


def price_number(price_cents: int) -> float:
    """Return the price as JSON says it: 20 and 12.5, and never 19.989999…."""
    return price_cents // CENTS if price_cents % CENTS == 0 else price_cents / CENTS


class TicketBodySerializer(serializers.Serializer[Any]):
    """What a seller says about a ticket."""

    title = TitleField(help_text="What is sold: one line, at most 200 characters.")
    price = PriceField(
        help_text="Greater than 0, at most two decimals. Numeric text is accepted, too."
    )


class TicketSerializer(serializers.Serializer[Ticket]):
    """A ticket."""

    id = serializers.CharField(help_text="24 hexadecimal digits.")
    title = serializers.CharField()
    price = serializers.FloatField(help_text="In the major unit of the site's currency.")
    user_id = serializers.CharField(help_text="The seller.")
    version = serializers.IntegerField(
        help_text="1 at first; one more with each change, a reservation and its end included."
    )
    order_id = serializers.CharField(
        required=False, help_text="The order that holds or bought the ticket; absent while free."
    )

    def to_representation(self, instance: Ticket) -> dict[str, Any]:
        """Name the fields by hand: listings are long, and DRF takes its time over each field."""
        ticket = {
            "id": str(instance.pk),
            "title": instance.title,
            "price": price_number(instance.price_cents),
            "user_id": instance.seller_id,
            "version": instance.version,
        }
        return ticket if instance.order_id is None else ticket | {"order_id": instance.order_id}


class TicketQuerySerializer(serializers.Serializer[Any]):
    """Which of the free tickets are wanted. Any of these parameters turns paging on."""

    page = serializers.IntegerField(
        min_value=1, max_value=LAST_PAGE, default=1, help_text="The page, from 1."
    )
    page_size = serializers.IntegerField(
        min_value=1,
        max_value=LARGEST_PAGE_SIZE,
        default=PAGE_SIZE,
        help_text="How many tickets a page has.",
    )
    q = serializers.CharField(
        max_length=SEARCH_LENGTH,
        allow_blank=True,
        default="",
        help_text="Words of the title, each at least by its beginning; case and accents are alike.",
    )
    sort = serializers.ChoiceField(
        choices=[(sort.value, sort.value) for sort in Sort], default=Sort.OLDEST.value
    )


class TicketPageSerializer(serializers.Serializer[Any]):
    """One page of the free tickets."""

    tickets = TicketSerializer(many=True)
    page = serializers.IntegerField()
    page_size = serializers.IntegerField()
    total = serializers.IntegerField(help_text="How many tickets all pages have together.")
    pages = serializers.IntegerField()
