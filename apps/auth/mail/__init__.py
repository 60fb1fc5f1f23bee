"""Mails about orders: an event queues one, `send_mails` sends it (docs/adr/0025)."""
