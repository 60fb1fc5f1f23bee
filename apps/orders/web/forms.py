from __future__ import annotations

from django import forms

from apps.orders.services import TICKET_ID


class ReserveForm(forms.Form):
    """The hidden field of a ticket page's reserve button."""

    ticket_id = forms.RegexField(rf"\A{TICKET_ID.pattern}\Z")
