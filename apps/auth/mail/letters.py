"""What each mail says, in plain words; how it looks is in templates/accounts/mail/."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.template.loader import render_to_string

from apps.auth.models import Mail
from apps.core.templatetags.core import money

LONGEST_TITLE = 80
JOINERS = "\u200c\u200d"
"""Between letters of many scripts and within emoji: format characters that belong to the text."""
UNWANTED = frozenset({"Cc", "Cf", "Cs"})


@dataclass(frozen=True, kw_only=True)
class Letter:
    """The words of a mail."""

    subject: str
    heading: str
    paragraphs: tuple[str, ...]
    details: tuple[tuple[str, str], ...]
    button: str
    address: str
    """Where the button leads."""

    def as_text(self) -> str:
        return render_to_string("accounts/mail/letter.txt", self._context())

    def as_html(self) -> str:
        return render_to_string("accounts/mail/letter.html", self._context())

    def _context(self) -> dict[str, object]:
        return {"letter": self, "brand": settings.SITE_NAME, "home": settings.PUBLIC_URL}


def write_letter(
    mail: Mail, *, others: Sequence[Mail] = (), has_ticket: bool = False, now: datetime
) -> Letter:
    """Write what a mail says.

    Args:
        mail: its facts are what the event said.
        others: the other mails about the order: what else the buyer was told, or will be.
        has_ticket: whether the ticket goes with it.
        now: a mail that was held up must not tell the buyer to pay in time that is over.
    """
    match mail.kind:
        case Mail.Kind.RESERVED:
            return _reserved(mail, others, now)
        case Mail.Kind.PAID:
            return _paid(mail, has_ticket)
        case Mail.Kind.EXPIRED:
            return _expired(mail)
        case Mail.Kind.CANCELLED:
            return _cancelled(mail)
        case _:
            return _refunded(mail, others)


def plain(text: str) -> str:
    """Return the text on one line, without what controls a header or the direction of writing."""
    kept = (
        each if each in JOINERS or unicodedata.category(each) not in UNWANTED else " "
        for each in text
    )
    return " ".join("".join(kept).split())


def _reserved(mail: Mail, others: Sequence[Mail], now: datetime) -> Letter:
    title, price, until = _title(mail), _price(mail), _instant(mail.facts["expires_at"])
    if others or now >= datetime.fromisoformat(mail.facts["expires_at"]):
        return _letter(
            mail,
            subject=f"You reserved: {title}",
            heading="You reserved a ticket",
            paragraphs=(
                f"“{title}” was held for you until {until}.",
                "Your order's page says how it stands now.",
            ),
        )
    return _letter(
        mail,
        subject=f"Reserved for you: {title}",
        heading="The ticket is held for you",
        paragraphs=(
            f"“{title}” is yours if you pay {price} by {until}.",
            "Nobody else can reserve it meanwhile.",
            "If you do not pay in time, it becomes free again, and nothing is charged.",
        ),
        button=f"Pay {price}",
    )


def _paid(mail: Mail, has_ticket: bool) -> Letter:  # noqa: FBT001 (a fact, no option)
    title = _title(mail)
    where = (
        "Your ticket is attached. Print it or show it on your phone: the seller scans its code at "
        "the entrance."
        if has_ticket
        else "The ticket could not be drawn as a PDF. Your order's page proves that it is yours."
    )
    return _letter(
        mail,
        subject=f"Your ticket: {title}",
        heading="The ticket is yours",
        paragraphs=(
            f"Thank you. You paid {_price(mail)} for “{title}”.",
            where,
            "It lets one person in, once. Whoever has it could use it, so show it to nobody else.",
        ),
    )


def _expired(mail: Mail) -> Letter:
    title = _title(mail)
    return _letter(
        mail,
        subject=f"Your reservation has expired: {title}",
        heading="The reservation has expired",
        paragraphs=(
            f"“{title}” was held for you until {_instant(mail.facts['expires_at'])}.",
            "It was not paid by then, so it is free for others again.",
            "Nothing was charged. If you still want it, see whether it is free.",
        ),
        button="See the ticket",
        address=f"{settings.PUBLIC_URL}/tickets/{mail.facts['ticket_id']}/",
    )


def _cancelled(mail: Mail) -> Letter:
    title = _title(mail)
    by_buyer = mail.facts["reason"] == "buyer"
    what = (
        f"You cancelled your order of “{title}”." if by_buyer else f"Your order of “{title}” ended."
    )
    if mail.facts["was_paid"]:
        then = "The ticket that we sent you is not valid any more."
        money_back = (
            "Your money goes back to the card that you paid with. We write to you when it is on "
            "its way."
            if by_buyer
            else "What you paid was refunded; another mail says how much, and when."
        )
    else:
        then = "The ticket is free for others again."
        money_back = (
            "If a payment was under way at that moment, it is stopped. Had it gone through "
            "already, you get the ticket if it is still free, or else your money back."
        )
    return _letter(
        mail,
        subject=f"Your order is cancelled: {title}",
        heading="Your order is cancelled",
        paragraphs=(f"{what} {then}", money_back),
    )


def _refunded(mail: Mail, others: Sequence[Mail]) -> Letter:
    facts = mail.facts
    titles = [each.facts["title"] for each in others if each.facts.get("title")]
    # Events of payments do not name the ticket. Its order was heard of before, as a rule.
    title = _short(titles[0]) if titles else ""
    back = money(facts["refund_cents"], facts["currency"])
    whole = money(facts["amount_cents"], facts["currency"])
    is_part = facts["refund_cents"] < facts["amount_cents"]
    amount = f"{back} of the {whole} that you paid" if is_part else f"The {back} that you paid"
    total = money(facts["refunded_total_cents"], facts["currency"])
    at = _instant(facts["refunded_at"])
    what = f"“{title}”" if title else "your order"
    paragraphs = [f"{amount} for {what} went back to you on {at}."]
    if reason := plain(facts["reason"]):
        paragraphs.append(f"Why: {reason}")
    paragraphs.append("It can take your bank a few days to show it. You need not do anything.")
    details = [("Refunded", back)]
    if facts["refunded_total_cents"] != facts["refund_cents"]:
        details.append(("Refunded in all", f"{total} of {whole}"))
    return _letter(
        mail,
        subject=f"Refunded: {back}" + (f" for {title}" if title else ""),
        heading=f"{back} went back to you",
        paragraphs=tuple(paragraphs),
        details=tuple(details),
    )


def _letter(  # noqa: PLR0913 (the fields of a letter, by keyword)
    mail: Mail,
    *,
    subject: str,
    heading: str,
    paragraphs: tuple[str, ...],
    details: tuple[tuple[str, str], ...] | None = None,
    button: str = "See your order",
    address: str = "",
) -> Letter:
    if details is None:
        details = (("Ticket", plain(mail.facts["title"])), ("Price", _price(mail)))
    return Letter(
        subject=subject,
        heading=heading,
        paragraphs=paragraphs,
        details=(*details, ("Order number", mail.order_id)),
        button=button,
        address=address or f"{settings.PUBLIC_URL}/orders/{mail.order_id}/",
    )


def _title(mail: Mail) -> str:
    return _short(mail.facts["title"])


def _short(title: str) -> str:
    line = plain(title)
    return line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rstrip()}…"


def _price(mail: Mail) -> str:
    return money(mail.facts["price_cents"], mail.facts["currency"])


def _instant(iso: str) -> str:
    at = datetime.fromisoformat(iso).astimezone(UTC)
    return f"{at.day} {at:%B %Y, %H:%M} UTC"
