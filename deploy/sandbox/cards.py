"""Stripe's test cards (docs.stripe.com/testing), and two of our own that lose an answer."""

from __future__ import annotations

from dataclasses import dataclass

DECLINED = "Your card was declined."


@dataclass(frozen=True)
class Decline:
    """Why the bank says no: the error's code, its decline_code and its words."""

    code: str
    decline_code: str
    message: str


@dataclass(frozen=True)
class Card:
    """What a test card looks like and how it behaves.

    Args:
        brand: as Stripe writes it.
        last4: the last digits of Stripe's published test number.
        funding: credit, debit or prepaid.
        decline: why charging it fails, if it does.
        needs_authentication: charging it asks for 3-D Secure first.
        is_disputed: the buyer's bank disputes the charge at once.
        fault: what happens to the confirming request itself (see faults.py).
    """

    brand: str
    last4: str
    funding: str = "credit"
    decline: Decline | None = None
    needs_authentication: bool = False
    is_disputed: bool = False
    fault: str = ""


DECLINES: dict[str, Decline] = {
    "generic_decline": Decline("card_declined", "generic_decline", DECLINED),
    "insufficient_funds": Decline(
        "card_declined", "insufficient_funds", "Your card has insufficient funds."
    ),
    "lost_card": Decline("card_declined", "lost_card", DECLINED),
    "stolen_card": Decline("card_declined", "stolen_card", DECLINED),
    "fraudulent": Decline("card_declined", "fraudulent", DECLINED),
    "expired_card": Decline("expired_card", "expired_card", "Your card has expired."),
    "incorrect_cvc": Decline(
        "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."
    ),
    "processing_error": Decline(
        "processing_error",
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
    "card_velocity_exceeded": Decline(
        "card_declined",
        "card_velocity_exceeded",
        "Your card was declined for making repeated attempts too frequently "
        "or exceeding its amount limit.",
    ),
    "authentication_required": Decline(
        "authentication_required",
        "authentication_required",
        "Your card was declined. This transaction requires authentication.",
    ),
}

CARDS: dict[str, Card] = {
    "visa": Card("visa", "4242"),
    "visa_debit": Card("visa", "5556", "debit"),
    "mastercard": Card("mastercard", "4444"),
    "mastercard_debit": Card("mastercard", "3222", "debit"),
    "mastercard_prepaid": Card("mastercard", "5100", "prepaid"),
    "amex": Card("amex", "8431"),
    "discover": Card("discover", "1117"),
    "diners": Card("diners", "0004"),
    "jcb": Card("jcb", "0505"),
    "unionpay": Card("unionpay", "0005"),
    "chargeDeclined": Card("visa", "0002", decline=DECLINES["generic_decline"]),
    "chargeDeclinedInsufficientFunds": Card("visa", "9995", decline=DECLINES["insufficient_funds"]),
    "chargeDeclinedLostCard": Card("visa", "9987", decline=DECLINES["lost_card"]),
    "chargeDeclinedStolenCard": Card("visa", "9979", decline=DECLINES["stolen_card"]),
    "chargeDeclinedFraudulent": Card("visa", "0019", decline=DECLINES["fraudulent"]),
    "chargeDeclinedExpiredCard": Card("visa", "0069", decline=DECLINES["expired_card"]),
    "chargeDeclinedIncorrectCvc": Card("visa", "0127", decline=DECLINES["incorrect_cvc"]),
    "chargeDeclinedProcessingError": Card("visa", "0119", decline=DECLINES["processing_error"]),
    "chargeDeclinedVelocityLimitExceeded": Card(
        "visa", "6975", decline=DECLINES["card_velocity_exceeded"]
    ),
    "chargeCustomerFail": Card("visa", "0341", decline=DECLINES["generic_decline"]),
    "threeDSecureRequired": Card("visa", "3220", needs_authentication=True),
    "threeDSecure2Required": Card("visa", "3220", needs_authentication=True),
    "authenticationRequired": Card("visa", "3184", needs_authentication=True),
    "createDispute": Card("visa", "0259", is_disputed=True),
    "sandboxLosesAnswer": Card("visa", "0901", fault="timeout_after"),
    "sandboxLosesRequest": Card("visa", "0902", fault="timeout_before"),
}


def find_card(name: str, prefix: str) -> Card | None:
    """Return the test card behind tok_visa, pm_card_visa, tok_visa_chargeDeclined and so on."""
    if not name.startswith(prefix):
        return None
    short = name.removeprefix(prefix)
    return CARDS.get(short) or CARDS.get(short.removeprefix("visa_"))


def card_of(brand: str, last4: str) -> Card:
    """Return the test card that a payment method was made of."""
    return next(card for card in CARDS.values() if (card.brand, card.last4) == (brand, last4))
