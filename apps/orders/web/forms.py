from __future__ import annotations

from django import forms

from apps.orders.services import TICKET_ID


class ReserveForm(forms.Form):
    """The hidden field of a ticket page's reserve button."""

    ticket_id = forms.RegexField(TICKET_ID.pattern + r"\Z", max_length=64)
