"""Parts of pages: text as it is, tables, and who did what."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

from ..models import OperatorAction

MOST_ACTIONS = 50


def pre(text: str) -> SafeString:
    return format_html('<pre class="outbox-event">{}</pre>', text)


def error(text: str) -> SafeString:
    return format_html('<pre class="outbox-event outbox-error">{}</pre>', text)


def table(rows: Iterable[tuple[str, str]]) -> SafeString:
    cells = format_html_join("", "<tr><th scope=row>{}</th><td>{}</td></tr>", rows)
    return format_html('<div class="outbox-wide"><table>{}</table></div>', cells)


def trail(target: str) -> SafeString:
    """Return what people did to this one, the last first."""
    actions = OperatorAction.objects.filter(target=target).order_by("-at")[:MOST_ACTIONS]
    lines = [
        (f"{localtime(each.at):%Y-%m-%d %H:%M:%S}", each.by, each.action, each.note)
        for each in actions
    ]
    if not lines:
        return format_html("{}", "Nobody did anything.")
    heads = "<tr><th scope=col>when</th><th scope=col>who</th><th scope=col>what</th>"
    cells = format_html_join(
        "",
        "<tr><td><time>{}</time></td><td>{}</td><td>{}</td><td class=outbox-text>{}</td></tr>",
        lines,
    )
    return format_html(
        '<div class="outbox-wide"><table>' + heads + "<th scope=col>why</th></tr>{}</table></div>",
        cells,
    )
