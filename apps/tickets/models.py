"""A listing: its rules, and its way from free to reserved to sold."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django_mongodb_backend.fields import ArrayField, ObjectIdAutoField

from apps.core.errors import Conflict, Invalid

TITLE_LENGTH: Final = 200
TITLE_REQUIRED: Final = "Title is required"
PRICE_TOO_LOW: Final = "Price must be greater than 0"
CENTS: Final = 100
WORD_INDEX: Final = "tickets_by_word"

# Only these digits, and few enough of them that no arithmetic on them is slow.
_PRICE_TEXT: Final = re.compile(r"[+-]?(\d{1,16}(\.\d{0,16})?|\.\d{1,16})", re.ASCII)
# Control characters, lone surrogates, line separators; and the marks that turn the direction of
# text, with which one title can be made to look like another.
_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_FORBIDDEN_MARKS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WORD: Final = re.compile(r"[^\W_]+")


class TicketReserved(Conflict):
    """An order holds or bought the ticket, so its seller may not touch it."""

    code = "ticket_reserved"


class TicketWithdrawn(Conflict):
    """The listing was taken back, so that it cannot be taken back again."""

    code = "ticket_withdrawn"


class TicketListed(Conflict):
    """The ticket is for sale already."""

    code = "ticket_listed"


class TicketSold(Conflict):
    """Another order bought the ticket: orders and tickets disagree, and a person must look."""

    code = "ticket_sold"


def clean_title(value: str) -> str:
    """Return the title without white space around it.

    Raises:
        Invalid: nothing visible is left, it is too long, or it has characters that no title needs.
    """
    title = value.strip()
    if not any(unicodedata.category(character)[0] in "LNPS" for character in title):
        raise Invalid(TITLE_REQUIRED, code="title_required", field="title")
    if any(
        unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _FORBIDDEN_MARKS
        for character in title
    ):
        raise Invalid(
            "Title must be one line of text without control characters",
            code="title_has_control_characters",
            field="title",
        )
    if len(title) > TITLE_LENGTH:
        raise Invalid(
            f"Title must have at most {TITLE_LENGTH} characters",
            code="title_too_long",
            field="title",
        )
    return title


def parse_price(value: object) -> int:
    """Return a price in minor units, from a JSON number or from text such as "12.50".

    Raises:
        Invalid: it is no such number, not above zero, finer than a cent, less than can be paid or
            absurdly high.
    """
    if isinstance(value, str) and _PRICE_TEXT.fullmatch(value.strip()):
        amount = Decimal(value.strip())
    elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        # repr() is the shortest text that means the same float: 19.99 and not 19.98999….
        amount = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    else:
        raise Invalid(PRICE_TOO_LOW, code="price_invalid", field="price")
    if not amount.is_finite() or amount <= 0:
        raise Invalid(PRICE_TOO_LOW, code="price_invalid", field="price")
    if amount > Decimal(settings.MAX_PRICE_CENTS) / CENTS:
        raise _price_too_high()
    if amount != amount.quantize(Decimal("0.01")):
        raise Invalid("Price must have at most two decimals", code="price_too_fine", field="price")
    if amount < Decimal(settings.MIN_PRICE_CENTS) / CENTS:
        raise _price_too_small()
    return int(amount * CENTS)


def search_terms(text: str) -> list[str]:
    """Return the distinct words of a text as search compares them: no case, no accents."""
    plain = "".join(
        character
        for character in unicodedata.normalize("NFKD", text.casefold())
        if not unicodedata.combining(character)
    )
    return list(dict.fromkeys(_WORD.findall(plain)))


def _price_too_small() -> Invalid:
    least = Decimal(settings.MIN_PRICE_CENTS) / CENTS
    return Invalid(
        f"Price must be at least {least:.2f}: cards cannot be charged less",
        code="price_too_small",
        field="price",
    )


def _price_too_high() -> Invalid:
    highest = settings.MAX_PRICE_CENTS // CENTS
    return Invalid(f"Price must be at most {highest:,}", code="price_too_high", field="price")


class Ticket(models.Model):
    """One ticket for sale.

    Which order has it is decided by the orders service. Events of two orders lie in two partitions
    and may arrive in either order: a new order's hold before the end of the one that it follows. So
    the ticket keeps every hold that has not ended, and shows the first; whatever way the events
    interleave, the same holds are left (README.md, "Holds").
    """

    class Status(models.TextChoices):
        FREE = "free", "for sale"
        RESERVED = "reserved", "reserved"
        SOLD = "sold", "sold"
        WITHDRAWN = "withdrawn", "withdrawn"

    id = ObjectIdAutoField(primary_key=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    price_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    seller_id = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status, default=Status.FREE)
    """Follows from the fields below; stored because listings are found by it."""
    order_id = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001
    """The order that holds or bought the ticket."""
    holds = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    """Every order whose hold has not ended, in the order in which they were heard of."""
    ended_orders = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    """Orders whose end was heard of before their beginning, which must then do nothing."""
    returned_orders = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    """Orders that were paid and ended all the same, which nothing brings back to life."""
    is_withdrawn = models.BooleanField(default=False)
    """The seller took the listing back. A hold that crossed it wins, but only until it ends."""
    search_terms = ArrayField(models.CharField(max_length=TITLE_LENGTH), default=list)
    version = models.BigIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["status", "created_at", "id"], name="tickets_by_age"),
            models.Index(fields=["status", "price_cents", "id"], name="tickets_by_price"),
            models.Index(fields=["status", "search_terms"], name=WORD_INDEX),
            models.Index(fields=["seller_id", "created_at", "id"], name="tickets_of_seller"),
            models.Index(fields=["order_id"], name="tickets_of_order"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_free(self) -> bool:
        return self.status == self.Status.FREE

    @property
    def is_sold(self) -> bool:
        return self.status == self.Status.SOLD

    def describe(self, *, title: str, price_cents: int) -> None:
        """Set what is sold and for how much, after checking both."""
        self.title = clean_title(title)
        self.search_terms = search_terms(self.title)
        if price_cents <= 0:
            raise Invalid(PRICE_TOO_LOW, code="price_invalid", field="price")
        if price_cents < settings.MIN_PRICE_CENTS:
            raise _price_too_small()
        if price_cents > settings.MAX_PRICE_CENTS:
            raise _price_too_high()
        self.price_cents = price_cents

    def require_unheld(self, verb: str) -> None:
        """Refuse what its seller may not do while an order has the ticket."""
        if self.order_id is not None:
            raise TicketReserved(f"Cannot {verb} a reserved ticket")

    def edit(self, *, title: str, price_cents: int, at: datetime) -> None:
        """Change a ticket that nobody holds."""
        self.require_unheld("edit")
        self.describe(title=title, price_cents=price_cents)
        self.updated_at = at

    def withdraw(self, *, at: datetime) -> None:
        """Take the listing back while nobody holds the ticket."""
        self.require_unheld("withdraw")
        if self.is_withdrawn:
            raise TicketWithdrawn("This ticket is withdrawn already")
        self.is_withdrawn = True
        self._change_status(at)

    def relist(self, *, at: datetime) -> None:
        """Offer a withdrawn ticket again."""
        self.require_unheld("list")
        if not self.is_withdrawn:
            raise TicketListed("This ticket is for sale already")
        self.is_withdrawn = False
        self._change_status(at)

    def reserve(self, order_id: str, *, at: datetime) -> bool:
        """Let an order hold the ticket; withdrawn or not, for orders has promised it.

        Returns:
            Whether anything changed: not when the order holds it already or ended before. Behind
            a sale the hold waits, for the sale may have been undone before the order was made.
        """
        if order_id in (*self.holds, *self.ended_orders, *self.returned_orders):
            return False
        self.holds = [*self.holds, order_id]
        self._change_status(at)
        return True

    def release(self, order_id: str, *, at: datetime) -> bool:
        """End the hold of this order, and of no other.

        Returns:
            Whether it had one.
        """
        if order_id not in self.holds or (self.is_sold and order_id == self.order_id):
            return False
        self._end_hold(order_id, at)
        return True

    def take_back(self, order_id: str, *, at: datetime) -> bool:
        """End the claim of an order that was paid, for good: it bought the ticket, or never will.

        Returns:
            Whether it had one.
        """
        self.returned_orders = [*self.returned_orders, order_id]
        if order_id not in self.holds:
            return False
        if self.is_sold and order_id == self.order_id:
            self.status = self.Status.RESERVED
        self._end_hold(order_id, at)
        return True

    def sell(self, order_id: str, *, at: datetime) -> bool:
        """Give the ticket to the order that paid.

        Returns:
            Whether anything changed: not when it has it already, or gave it back before.

        Raises:
            TicketSold: another order bought it before.
        """
        if order_id in self.returned_orders:
            return False
        if self.is_sold and self.order_id != order_id:
            raise TicketSold(
                f"Ticket {self.pk} was sold to order {self.order_id} and cannot go to {order_id}"
            )
        if self.is_sold:
            return False
        self.holds = [order_id, *(hold for hold in self.holds if hold != order_id)]
        self.order_id, self.status, self.updated_at = order_id, self.Status.SOLD, at
        return True

    def forget(self, order_id: str) -> bool:
        """Note the end of an order whose beginning has not been heard of.

        Returns:
            Whether that was news.
        """
        if order_id in (*self.holds, *self.ended_orders, *self.returned_orders):
            return False
        self.ended_orders = [*self.ended_orders, order_id]
        return True

    def _end_hold(self, order_id: str, at: datetime) -> None:
        self.holds = [hold for hold in self.holds if hold != order_id]
        self._change_status(at)

    def _change_status(self, at: datetime) -> None:
        self.updated_at = at
        if self.is_sold:
            return
        self.order_id = self.holds[0] if self.holds else None
        if self.order_id is not None:
            self.status = self.Status.RESERVED
        elif self.is_withdrawn:
            self.status = self.Status.WITHDRAWN
        else:
            self.status = self.Status.FREE
