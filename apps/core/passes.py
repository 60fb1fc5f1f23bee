"""The signed pass in a ticket's QR code: auth mails it, orders verifies it (docs/adr/0025)."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from django.conf import settings
from django.core.signing import BadSignature, Signer

SALT = "ticketing.pass"
PART = "."
LONGEST_PASS = 512


@dataclass(frozen=True)
class Pass:
    """Who may go in, by which order: it says nothing about whether the order still stands."""

    order_id: str
    ticket_id: str
    buyer_id: str


def sign_pass(claims: Pass) -> str:
    """Return the pass as text that is safe in an address, and short, since a code has to hold it.

    It is signed with JWT_KEY under a salt of its own: no pass is a session, and no session a pass.
    """
    return _signer().sign(PART.join(astuple(claims)))


def read_pass(text: str) -> Pass | None:
    """Return what the pass claims; None when it is forged, or no pass at all.

    Passes signed with JWT_KEY_PREVIOUS are still good.
    """
    if len(text) > LONGEST_PASS or not text.isascii():
        return None
    try:
        parts = _signer().unsign(text).split(PART)
    except BadSignature:
        return None
    return Pass(*parts) if len(parts) == len(Pass.__dataclass_fields__) else None


def pass_address(claims: Pass) -> str:
    """Return the address that the code leads to."""
    return f"{settings.PUBLIC_URL}/orders/verify/{sign_pass(claims)}/"


def _signer() -> Signer:
    previous: list[bytes | str] = [settings.JWT_KEY_PREVIOUS] if settings.JWT_KEY_PREVIOUS else []
    return Signer(key=settings.JWT_KEY, fallback_keys=previous, salt=SALT)
