from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from apps.core.identity import SignedIn
from apps.core.schema import ErrorsSerializer, error_response
from apps.payments import services
from apps.payments.api.serializers import ConfirmingSerializer, PaidSerializer, PaySerializer
from apps.payments.gateway import provider

CONFIRMING = (
    "Your payment is being confirmed. Please do not pay again: the order shows the outcome "
    "within moments."
)
REQUIRES_ACTION = (
    "Your bank asks you to confirm this payment. Nothing is charged before you have done so."
)
PAYMENT_ID = "019ab3bd-0c52-7e6f-8a30-2b8f5d1c9e44"
ORDER_ID = "019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7"
REFUSALS = (
    ("Your card was declined.", "generic_decline", ""),
    ("Your card has insufficient funds.", "insufficient_funds", ""),
    ("No such token: 'tok_typo'", "resource_missing", ""),
    ("Order is already paid", "order_already_paid", ""),
    ("Cannot pay for a cancelled order", "order_cancelled", ""),
    ("The reservation has expired. Nothing was charged", "order_expired", ""),
    ("Token must be provided", "required", "token"),
    ("OrderId must be provided", "required", "orderId"),
)


def _refusal_examples() -> list[OpenApiExample]:
    return [
        OpenApiExample(
            message,
            value={
                "errors": [{"message": message, "code": code} | ({"field": field} if field else {})]
            },
            response_only=True,
        )
        for message, code, field in REFUSALS
    ]


class PaymentsView(APIView):
    permission_classes = (SignedIn,)
    throttle_classes = (ScopedRateThrottle,)
    throttle_scope = "payments"

    @extend_schema(
        operation_id="createPayment",
        summary="Pay an order",
        description=(
            "Charges the order's price, once: while the outcome of a payment is open, a repeated "
            "request joins it instead of beginning another. After a declined card a request is a "
            "new payment.\n\n"
            "`202` means that the provider's answer has not come: the money may have been taken. "
            "Do not pay again and do not tell the buyer that it failed; the order becomes "
            "`complete`, or payable again, within moments. Repeating the request is safe.\n\n"
            "Its status `requires_action` means that the bank wants the buyer to confirm the "
            "payment (3-D Secure): send the buyer to `redirectUrl`, which leads back to the "
            "order.\n\n"
            "An order can be paid a moment after it was created; until then this answers `404`."
        ),
        tags=["payments"],
        request=PaySerializer,
        examples=[
            OpenApiExample(
                "A test card", value={"token": "tok_visa", "orderId": ORDER_ID}, request_only=True
            )
        ],
        responses={
            201: OpenApiResponse(
                PaidSerializer,
                description="Paid.",
                examples=[OpenApiExample("Paid", value={"id": PAYMENT_ID})],
            ),
            202: OpenApiResponse(
                ConfirmingSerializer,
                description="Being confirmed.",
                examples=[
                    OpenApiExample(
                        "Confirming",
                        value={"id": PAYMENT_ID, "status": "confirming", "message": CONFIRMING},
                    ),
                    OpenApiExample(
                        "To be confirmed at the bank",
                        value={
                            "id": PAYMENT_ID,
                            "status": "requires_action",
                            "message": REQUIRES_ACTION,
                            "redirectUrl": "https://hooks.stripe.com/redirect/authenticate/…",
                        },
                    ),
                ],
            ),
            400: OpenApiResponse(
                ErrorsSerializer,
                description="Declined in the provider's words, or there is nothing to pay.",
                examples=_refusal_examples(),
            ),
            401: error_response("Not authorized", "not_authorized"),
            404: error_response("Not Found", "order_not_found"),
            429: error_response("Too many requests. Try again in 3 seconds.", "throttled"),
        },
    )
    def post(self, request: Request) -> Response:
        wish = PaySerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        attempt = services.pay_order(
            order_id=wish.validated_data["order_id"],
            buyer_id=str(request.user.pk),
            method=wish.validated_data["token"],
            gateway=provider(),
        )
        if attempt.awaits_buyer:
            body = {
                "id": attempt.pk,
                "status": "requires_action",
                "message": REQUIRES_ACTION,
                "redirect_url": attempt.action_url,
            }
            return Response(ConfirmingSerializer(body).data, status=status.HTTP_202_ACCEPTED)
        if attempt.is_pending:
            body = {"id": attempt.pk, "status": "confirming", "message": CONFIRMING}
            return Response(ConfirmingSerializer(body).data, status=status.HTTP_202_ACCEPTED)
        return Response(PaidSerializer({"id": attempt.pk}).data, status=status.HTTP_201_CREATED)
