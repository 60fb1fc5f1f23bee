from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.conf import settings
from django.core.validators import RegexValidator
from django.http import QueryDict

from apps.payments import gateway


@dataclass(frozen=True)
class TestCard:
    """One of the provider's published test cards: a name, never a number that could be real."""

    token: str
    brand: str
    last4: str
    outcome: str
    only_sandbox: bool = False


TEST_CARDS = (
    TestCard("tok_visa", "Visa", "4242", "Is accepted"),
    TestCard("tok_mastercard", "Mastercard", "4444", "Is accepted"),
    TestCard("tok_chargeDeclined", "Visa", "0002", "Is declined by the bank"),
    TestCard("tok_chargeDeclinedInsufficientFunds", "Visa", "9995", "Has insufficient funds"),
    TestCard("tok_chargeDeclinedExpiredCard", "Visa", "0069", "Has expired"),
    TestCard("tok_authenticationRequired", "Visa", "3184", "Asks you to confirm it at your bank"),
    TestCard(
        "tok_sandboxLosesAnswer",
        "Visa",
        "0901",
        "Is charged, but the answer gets lost",
        only_sandbox=True,
    ),
    TestCard(
        "tok_sandboxLosesRequest",
        "Visa",
        "0902",
        "Is not charged: the request gets lost",
        only_sandbox=True,
    ),
)
UNKNOWN = "Please choose one of the cards."
UNREAD = "Your card could not be read. Nothing was charged; please try again."


class PayForm(forms.Form):
    """A choice among test cards.

    Args:
        sandbox: whether the cards are offered that only the sandbox knows.
    """

    card = forms.ChoiceField(
        error_messages={"required": UNKNOWN, "invalid_choice": UNKNOWN}, choices=()
    )

    def __init__(self, *args: object, sandbox: bool) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.cards = [card for card in TEST_CARDS if sandbox or not card.only_sandbox]
        field = self.fields["card"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - as declared above
        field.choices = [(card.token, f"{card.brand} {card.last4}") for card in self.cards]

    @property
    def chosen(self) -> str:
        """The card to show as chosen: what was sent, or else the first."""
        return str(self["card"].value() or self.cards[0].token)


class ElementForm(forms.Form):
    """What Stripe's own form gave for a card: a confirmation token, or a payment method."""

    card = forms.CharField(
        max_length=255,
        error_messages={"required": UNREAD, "max_length": UNREAD},
        validators=[RegexValidator(r"\A(ctoken|pm)_[A-Za-z0-9_]+\Z", UNREAD)],
    )


def pay_form(data: QueryDict | None = None) -> PayForm | ElementForm:
    """Return the form that the settings ask for, filled in with what was sent."""
    if settings.STRIPE_PUBLISHABLE_KEY:
        return ElementForm(data)
    return PayForm(data, sandbox=gateway.is_sandbox())
