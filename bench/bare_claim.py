"""The bare claim: one view, one statement, one transaction. No service that is kept can cost less.

It asks nobody who they are, publishes nothing and keeps no history; the same unique index decides.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import uuid6
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

CLAIM = (
    "INSERT INTO claim (id, ticket_id, buyer_id, status, created_at, expires_at)"
    " VALUES (%s, %s, %s, 'created', %s, %s) ON CONFLICT DO NOTHING"
)
WINDOW = timedelta(minutes=15)
REFUSAL = {"message": "Ticket is already reserved", "code": "ticket_already_reserved"}


def claim(request: HttpRequest) -> JsonResponse:
    wanted = json.loads(request.body)
    now = datetime.now(UTC)
    claim_id = uuid6.uuid7()
    values = [claim_id, wanted["ticketId"], wanted["buyerId"], now, now + WINDOW]
    with transaction.atomic(), connection.cursor() as cursor:  # noqa: TID251 (what else is bare?)
        cursor.execute(CLAIM, values)
        is_claimed = cursor.rowcount == 1
    if not is_claimed:
        return JsonResponse({"errors": [REFUSAL]}, status=400)
    return JsonResponse({"id": str(claim_id), "ticketId": wanted["ticketId"]}, status=201)


urlpatterns = [path("api/orders", claim)]
application = get_wsgi_application()
