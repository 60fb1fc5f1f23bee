"""One page for people: what was paid, declined and refunded here."""

from __future__ import annotations

import time
from html import escape

from deploy.sandbox.objects import Body
from deploy.sandbox.store import Store

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; }
p { opacity: .75; margin-top: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .5rem .75rem; border-bottom: 1px solid #8884;
  white-space: nowrap; }
th { font-weight: 600; opacity: .75; }
.amount { text-align: right; }
.status { border: 1px solid; border-radius: 1rem; padding: .1rem .6rem; font-size: .85rem; }
.succeeded { color: light-dark(#137333, #81c995); }
.canceled, .refunded { color: light-dark(#5f6368, #bdc1c6); }
.declined { color: light-dark(#b3261e, #f2b8b5); }
code { font-size: .85rem; }
"""


def payments(store: Store) -> str:
    """Return the page of the newest hundred payments."""
    intents, more = store.page("payment_intent", limit=100)
    rows = "".join(_row(store, intent) for intent in intents)
    if not rows:
        rows = '<tr><td colspan="6">No payments yet.</td></tr>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sandbox payments</title><style>{STYLE}</style></head><body>"
        "<h1>Sandbox payments</h1><p>No real money moves here. "
        f"{'The newest 100 are shown.' if more else ''}</p>"
        '<div class="scroll"><table><thead><tr><th>Time (UTC)</th><th class="amount">Amount</th>'
        "<th>Status</th><th>Card</th><th>Order</th><th>Payment intent</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></body></html>"
    )


def _row(store: Store, intent: Body) -> str:
    charge = store.find("charge", intent["latest_charge"] or "") or {}
    card = charge.get("payment_method_details", {}).get("card", {})
    error = intent["last_payment_error"] or {}
    status, words = intent["status"], intent["status"].replace("_", " ")
    if charge.get("amount_refunded"):
        status, words = "refunded", "refunded" if charge["refunded"] else "partly refunded"
    elif status == "requires_payment_method" and error:
        status, words = "declined", f"declined: {error['decline_code']}".replace("_", " ")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(intent["created"]))
    amount = f"{intent['amount'] / 100:,.2f} {intent['currency'].upper()}"
    cells = (
        f"<td>{when}</td>"
        f'<td class="amount">{escape(amount)}</td>'
        f'<td><span class="status {escape(status)}">{escape(words)}</span></td>'
        f"<td>{escape(card.get('brand', ''))} {escape(card.get('last4', ''))}</td>"
        f"<td><code>{escape(str(intent['metadata'].get('order_id', '')))}</code></td>"
        f"<td><code>{escape(intent['id'])}</code></td>"
    )
    return f"<tr>{cells}</tr>"
