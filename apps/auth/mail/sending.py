"""From a queued mail to one that a server took. No mail server is talked to in a transaction."""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.db import DatabaseError
from django.utils import timezone

from apps.auth import selectors
from apps.auth.events import MailGivenUp, MailSent
from apps.auth.mail import metrics
from apps.auth.mail.letters import plain, write_letter
from apps.auth.mail.ticket import Ticket, draw_ticket
from apps.auth.models import Mail
from apps.core.passes import Pass, pass_address
from apps.core.templatetags.core import money
from apps.outbox import tracing
from apps.outbox.publish import publish
from apps.outbox.transactions import transactional
from apps.outbox.worker import spread

LEASE = timedelta(minutes=5)
"""Longer than any attempt takes by far, since no single answer of a server is awaited so long."""
FIRST_DELAY_SECONDS = 5.0
LONGEST_DELAY_SECONDS = 3600.0
TICKET_NAME = "ticket.pdf"
FOR_GOOD = 500
"""RFC 5321: what was answered with 4yz may go better later, 5yz will not."""

Clock = Callable[[], datetime]

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    SENT = "sent"
    TAKEN = "taken"
    """Another mailer has it."""
    UNKNOWN_USER = "unknown_user"
    REFUSED = "refused"
    """The server is well, and does not take this mail at the moment."""
    UNWANTED = "unwanted"
    """The server does not want this mail, and says for good."""
    BROKEN = "broken"
    """The mail could not even be made: a fault of ours."""
    AWAY = "away"
    """The server cannot be talked to: whoever comes next would fare no better."""


class UnknownUser(Exception):
    """The person is not known here, or not yet."""


def send_mail(*, mail: Mail, server: BaseEmailBackend, clock: Clock = timezone.now) -> Outcome:
    """Try to send a mail once, and write down what became of it.

    Before anything is sent the row says so, with a time by which its mailer is taken for dead: a
    mail whose mailer dies is sent again then, by the same Message-ID. That is once as far as mail
    allows, for a server may have taken what it could not answer for any more.

    Args:
        mail: due, as it was just read.
        server: is left open if it was well; the caller closes it.
        clock: the time.
    """
    if not mail.claim(now=clock(), until=clock() + LEASE):
        return Outcome.TAKEN
    with tracing.resuming("send mail", mail.trace, order_id=mail.order_id):
        try:
            message = compose(mail, now=clock())
            server.open()
            server.send_messages([message])
        except UnknownUser as exc:
            return _fail(mail, Outcome.UNKNOWN_USER, str(exc), clock())
        except DatabaseError:
            raise  # another mailer, or this one, takes it when the lease is over
        except OSError as exc:  # smtplib's errors among them
            with suppress(OSError):
                server.close()
            return _fail(mail, _outcome_of(exc), f"{type(exc).__name__}: {exc}", clock())
        except Exception as exc:  # a mail that cannot be made must not hold up the others
            log.exception("the mail cannot be made", mail_id=str(mail.pk))
            return _fail(mail, Outcome.BROKEN, f"{type(exc).__name__}: {exc}", clock())
        _arrive(mail, clock())
        metrics.sent.labels(mail.kind).inc()
        log.info("mail sent", mail_id=str(mail.pk), kind=mail.kind)
        return Outcome.SENT


def compose(mail: Mail, *, now: datetime) -> EmailMultiAlternatives:
    """Return the message: written once, addressed to where the person is to be reached today.

    Raises:
        UnknownUser: nobody knows an address.
    """
    user = selectors.find_user(user_id=mail.user_id)
    if user is None:
        raise UnknownUser(f"No user {mail.user_id} is known.")
    ticket = draw(mail)
    if not mail.text:
        others = [
            each
            for each in selectors.list_mails_of_order(order_id=mail.order_id)
            if each.pk != mail.pk
        ]
        letter = write_letter(mail, others=others, has_ticket=ticket is not None, now=now)
        mail.compose(subject=letter.subject, text=letter.as_text(), html=letter.as_html())
    mail.address(recipient=user.email)
    return message_of(mail, ticket)


def message_of(mail: Mail, ticket: bytes | None) -> EmailMultiAlternatives:
    """Return a composed mail as the message that is, or was, sent."""
    message = EmailMultiAlternatives(
        subject=mail.subject,
        body=mail.text,
        from_email=settings.MAIL_FROM,
        to=[mail.recipient],
        headers={
            "Message-ID": f"<{mail.pk}@{urlsplit(settings.PUBLIC_URL).hostname}>",
            "Date": format_datetime(mail.queued_at),
            "Auto-Submitted": "auto-generated",  # RFC 3834: no machine shall answer
        },
    )
    message.attach_alternative(mail.html, "text/html")
    if ticket is not None:
        message.attach(TICKET_NAME, ticket, "application/pdf")
    return message


def draw(mail: Mail) -> bytes | None:
    """Return the ticket that goes with the mail; None for one without, or if it cannot be drawn."""
    if mail.kind != Mail.Kind.PAID:
        return None
    try:
        return draw_ticket(ticket_of(mail))
    except Exception:  # the buyer must hear of the payment, whatever the ticket is called
        log.exception("the ticket cannot be drawn", mail_id=str(mail.pk))
        return None


def ticket_of(mail: Mail) -> Ticket:
    """Return what is printed on the ticket of a paid order."""
    return Ticket(
        brand=settings.SITE_NAME,
        title=plain(mail.facts["title"]),
        facts=(
            ("Paid", money(mail.facts["price_cents"], mail.facts["currency"])),
            ("Order number", mail.order_id),
        ),
        address=pass_address(Pass(mail.order_id, mail.facts["ticket_id"], mail.user_id)),
    )


@transactional
def _arrive(mail: Mail, now: datetime) -> None:
    """Write down that a server took the mail, and publish MailSent; once, whoever sent it too."""
    if mail.arrive(now=now):
        publish(MailSent(**_fact_of(mail)))


@transactional
def _give_up(mail: Mail, outcome: Outcome, why: str) -> None:
    """Try no more, and publish MailGivenUp; what a server says may hold an address, and stays."""
    if mail.give_up(why=why):
        publish(MailGivenUp(**_fact_of(mail), why=outcome.value))


def _fact_of(mail: Mail) -> dict[str, Any]:
    return {
        "mail_id": str(mail.pk),
        "version": mail.attempts,
        "order_id": mail.order_id,
        "kind": mail.kind,
        "attempts": mail.attempts,
    }


def _fail(mail: Mail, outcome: Outcome, why: str, now: datetime) -> Outcome:
    metrics.failures.labels(outcome).inc()
    limit = timedelta(seconds=settings.MAIL_GIVE_UP_SECONDS)
    if mail.is_too_old(now=now, limit=limit):
        log.error("mail given up", mail_id=str(mail.pk), why=why)
        _give_up(mail, outcome, why)
        return outcome
    delay = spread(FIRST_DELAY_SECONDS, mail.attempts, LONGEST_DELAY_SECONDS)
    if outcome == Outcome.UNWANTED:
        delay = LONGEST_DELAY_SECONDS  # who insists is taken for a sender of junk
    log.warning("mail not sent yet", mail_id=str(mail.pk), why=why, seconds=round(delay))
    mail.put_off(why=why, until=now + timedelta(seconds=delay))
    return outcome


def _outcome_of(exc: OSError) -> Outcome:
    match exc:
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in exc.recipients.values()]
        case smtplib.SMTPDataError():
            codes = [exc.smtp_code]
        case _:
            return Outcome.AWAY
    return Outcome.UNWANTED if min(codes) >= FOR_GOOD else Outcome.REFUSED
