"""The bank's page, on which a buyer confirms a payment or refuses it (3-D Secure)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from deploy.sandbox import objects
from deploy.sandbox.api import Answer, Request
from deploy.sandbox.forms import decode
from deploy.sandbox.objects import Body
from deploy.sandbox.pages import STYLE
from deploy.sandbox.provider import Call, Provider
from deploy.sandbox.store import Store

PATH = "/redirect/authenticate"
HTML = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
BANK_STYLE = """
main { max-width: 26rem; margin: 3rem auto; border: 1px solid #8884; border-radius: .75rem;
  padding: 1.5rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 1rem 0 1.5rem; }
dt { opacity: .75; } dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; }
form { display: grid; gap: .75rem; }
button { font: inherit; padding: .75rem; border-radius: .5rem; border: 1px solid #8888;
  background: none; color: inherit; cursor: pointer; }
button.yes { background: #1a56db; border-color: #1a56db; color: #fff; }
"""


class Bank:
    """Serves the page.

    Args:
        store: where the payments are.
        provider: carries out what the buyer says.
        wake_webhooks: called after something has changed.
    """

    def __init__(
        self, store: Store, provider: Provider, *, wake_webhooks: Callable[[], None]
    ) -> None:
        self._store = store
        self._provider = provider
        self._wake_webhooks = wake_webhooks

    def answer(self, request: Request) -> Answer:
        """Show the payment, or take the buyer's word and send the buyer back to the shop."""
        intent_id = request.path.removeprefix(f"{PATH}/")
        intent = self._store.find("payment_intent", intent_id)
        secret = str(decode(request.query).get("client_secret", ""))
        if intent is None or not hmac.compare_digest(secret, intent["client_secret"]):
            return Answer(404, _page("There is no such payment."), HTML)
        if request.method != "POST":
            return Answer(200, self._ask(intent), HTML)
        back = _return_url(intent)
        words = decode(request.body.decode("utf-8", "replace")).get("answer")
        if back is None or words not in {"approve", "refuse"}:
            return Answer(200, self._ask(intent), HTML)
        with self._store.transaction():
            intent = self._provider.authenticate(
                Call({}, objects.new_id("req", 14)), intent_id, approved=words == "approve"
            )
        self._wake_webhooks()
        is_paid = intent["status"] == "succeeded"
        told = {
            "payment_intent": intent["id"],
            "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if is_paid else "failed",
        }
        return Answer(303, "", {"Location": _with_query(back, told)})

    def _ask(self, intent: Body) -> str:
        if _return_url(intent) is None:
            words = "paid" if intent["status"] == "succeeded" else "not open any more"
            return _page(f"This payment is {words}. You can close this page.")
        method = self._store.find("payment_method", intent["payment_method"]) or {}
        card = method.get("card", {})
        facts = {
            "Amount": f"{intent['amount'] / 100:,.2f} {intent['currency'].upper()}",
            "Card": f"{card.get('brand', '')} •••• {card.get('last4', '')}".title(),
        }
        rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items())
        return _page(
            "Is this payment yours?",
            f'<dl>{rows}</dl><form method="post">'
            '<button class="yes" name="answer" value="approve">Yes, confirm it</button>'
            '<button name="answer" value="refuse">No, refuse it</button></form>',
        )


def _return_url(intent: Body) -> str | None:
    """Return where the buyer goes afterwards; None if nothing is asked of the buyer."""
    action = intent["next_action"] or {}
    address: str | None = action.get("redirect_to_url", {}).get("return_url")
    return address


def _with_query(address: str, more: dict[str, str]) -> str:
    parts = urlsplit(address)
    query = "&".join(filter(None, (parts.query, urlencode(more))))
    return urlunsplit(parts._replace(query=query))


def _page(title: str, body: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sandbox bank</title><style>{STYLE}{BANK_STYLE}</style></head><body><main>"
        f"<p>Sandbox bank. No real money moves.</p><h1>{escape(title)}</h1>{body}"
        "</main></body></html>"
    )
