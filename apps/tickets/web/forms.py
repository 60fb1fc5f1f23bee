"""What the seller's page asks for; the model says what is allowed."""

from __future__ import annotations

from django import forms

from apps.core.errors import Invalid
from apps.tickets.models import (
    CENTS,
    PRICE_TOO_LOW,
    TITLE_LENGTH,
    TITLE_REQUIRED,
    Ticket,
    clean_title,
    parse_price,
)
from apps.tickets.selectors import Sort

SORT_LABELS = {
    Sort.NEWEST: "Newest first",
    Sort.OLDEST: "Oldest first",
    Sort.CHEAPEST: "Lowest price",
    Sort.DEAREST: "Highest price",
}


class TicketForm(forms.Form):
    """A ticket to sell."""

    title = forms.CharField(
        max_length=TITLE_LENGTH,
        help_text="Event, place, date and seat: what a buyer would search for.",
        error_messages={"required": TITLE_REQUIRED},
        widget=forms.TextInput(
            attrs={"placeholder": "Opening night, Harbour Theatre, row C", "autocomplete": "off"}
        ),
    )
    price = forms.CharField(
        max_length=32,
        help_text="What the buyer pays for this one ticket, such as 42.50.",
        error_messages={"required": PRICE_TOO_LOW},
        widget=forms.TextInput(
            attrs={"inputmode": "decimal", "placeholder": "42.50", "autocomplete": "off"}
        ),
    )

    @classmethod
    def of(cls, ticket: Ticket) -> TicketForm:
        """Return the form as the ticket would fill it in."""
        price = f"{ticket.price_cents // CENTS}.{ticket.price_cents % CENTS:02}"
        return cls(initial={"title": ticket.title, "price": price})

    def clean_title(self) -> str:
        try:
            return clean_title(self.cleaned_data["title"])
        except Invalid as exc:
            raise forms.ValidationError(exc.message, code=exc.error_code) from exc

    def clean_price(self) -> int:
        try:
            return parse_price(self.cleaned_data["price"])
        except Invalid as exc:
            raise forms.ValidationError(exc.message, code=exc.error_code) from exc


class SearchForm(forms.Form):
    """What a visitor looks for. Nonsense in the address shows the plain list."""

    q = forms.CharField(required=False, max_length=TITLE_LENGTH)
    sort = forms.ChoiceField(
        required=False, choices=[(sort.value, label) for sort, label in SORT_LABELS.items()]
    )

    @property
    def words(self) -> str:
        words: str = self.cleaned_data.get("q", "") if self.is_valid() else ""
        return words

    @property
    def order(self) -> Sort:
        return Sort((self.is_valid() and self.cleaned_data["sort"]) or Sort.NEWEST)
