from __future__ import annotations

from typing import Any

from rest_framework import serializers

TOKEN_MISSING = "Token must be provided"  # noqa: S105 - words, not a secret
ORDER_ID_MISSING = "OrderId must be provided"
LONGEST_REFERENCE = 255


class PaySerializer(serializers.Serializer[Any]):
    """What a buyer sends to pay. Whether the token is any good is the provider's to say."""

    token = serializers.CharField(
        max_length=LONGEST_REFERENCE,
        error_messages=dict.fromkeys(("required", "null", "blank", "invalid"), TOKEN_MISSING),
        help_text="The provider's token (tok_…, ctoken_…) or payment method (pm_…).",
    )
    order_id = serializers.CharField(
        error_messages=dict.fromkeys(("required", "null", "blank", "invalid"), ORDER_ID_MISSING),
        help_text="The order to pay, which must be yours.",
    )


class PaidSerializer(serializers.Serializer[Any]):
    """The payment that took the money."""

    id = serializers.UUIDField(help_text="The payment.")


class ConfirmingSerializer(serializers.Serializer[Any]):
    """The provider's answer, or the buyer's confirmation, is still to come."""

    id = serializers.UUIDField(help_text="The payment.")
    status = serializers.ChoiceField(choices=["confirming", "requires_action"])
    message = serializers.CharField(help_text="What to tell the buyer.")
    redirect_url = serializers.URLField(
        required=False,
        help_text="Where to send the buyer, to confirm the payment with the bank (3-D Secure).",
    )
