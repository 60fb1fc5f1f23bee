"""The plain claim: what a Django project does that only reserves tickets, the usual way.

It knows the buyer by the same session, and has Django's usual middleware and its ORM; it publishes
nothing and keeps no history. The same unique index decides.
"""

from __future__ import annotations

import json
from datetime import timedelta

import jwt
import uuid6
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import IntegrityError, models, transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

# First: models need Django to be set up.
application = get_wsgi_application()

WINDOW = timedelta(minutes=15)
REFUSAL = {"message": "Ticket is already reserved", "code": "ticket_already_reserved"}
STRANGER = {"message": "Not authorized", "code": "not_authorized"}


class Claim(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid6.uuid7)
    ticket_id = models.CharField(max_length=64)
    buyer_id = models.CharField(max_length=64)
    status = models.CharField(max_length=20, default="created")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        db_table = "claim"
        managed = False

    def __str__(self) -> str:
        return self.ticket_id


@csrf_exempt
def claim(request: HttpRequest) -> JsonResponse:
    try:
        token = jwt.decode(request.COOKIES["session"], settings.JWT_KEY, algorithms=["HS256"])
    except (KeyError, jwt.PyJWTError):
        return JsonResponse({"errors": [STRANGER]}, status=401)
    ticket_id = json.loads(request.body)["ticketId"]
    ends_at = timezone.now() + WINDOW
    try:
        with transaction.atomic():  # noqa: TID251 (a project of its own)
            made = Claim.objects.create(
                ticket_id=ticket_id, buyer_id=token["sub"], expires_at=ends_at
            )
    except IntegrityError:
        return JsonResponse({"errors": [REFUSAL]}, status=400)
    return JsonResponse({"id": str(made.id), "ticketId": made.ticket_id}, status=201)


urlpatterns = [path("api/orders", claim)]
