"""The audit trail of operators: rows that are only ever added."""

from __future__ import annotations

import structlog
from django.utils import timezone

from .models import OperatorAction

log = structlog.get_logger(__name__)


def note(by: str, action: str, target: str, why: str = "") -> None:
    """Write down who did what to which thing; call it in the transaction that does it."""
    OperatorAction.objects.create(
        at=timezone.now(), by=by[:255] or "nobody", action=action, target=target[:600], note=why
    )
    log.info("operator_action", by=by, action=action, target=target, note=why)
