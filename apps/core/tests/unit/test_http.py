from __future__ import annotations

import io
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    ExecutionTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)
from rest_framework import exceptions, serializers

from apps.core.http import (
    CamelCaseJSONParser,
    CamelCaseJSONRenderer,
    camelize,
    exception_handler,
    is_outage,
    underscore,
)
from apps.outbox.transactions import TransactionAbandoned


def parse(body):
    return CamelCaseJSONParser().parse(io.BytesIO(body))


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("order_id", "orderId"),
        ("id", "id"),
        ("expires_at", "expiresAt"),
        ("three_d_secure", "threeDSecure"),
        ("_leading", "_leading"),
        ("current_user", "currentUser"),
    ],
)
def test_names_are_snake_case_inside_and_camel_case_outside(inside, outside):
    assert camelize(inside) == outside


@given(st.from_regex(r"[a-z]{2,6}(_[a-z]{2,6}){0,3}", fullmatch=True))
def test_a_name_comes_back_from_the_outside_as_it_went(name):
    assert underscore(camelize(name)) == name


def test_keys_are_renamed_at_every_depth_and_values_are_not():
    sent = {"order_id": "a_b", "ticket": {"user_id": 1}, "lines": [{"price_cents": 5}]}

    body = CamelCaseJSONRenderer().render(sent)

    assert body == (b'{"orderId":"a_b","ticket":{"userId":1},"lines":[{"priceCents":5}]}')
    assert parse(body) == sent


def test_what_json_does_not_know_is_written_as_text():
    sent = {"price": Decimal("12.50"), "id": UUID(int=1)}

    assert CamelCaseJSONRenderer().render(sent) == (
        b'{"price":"12.50","id":"00000000-0000-0000-0000-000000000001"}'
    )


def test_an_answer_without_content_stays_empty():
    assert CamelCaseJSONRenderer().render(None) == b""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"\xff\xfe{}",
        b"[" * 30_000,
        b'{"a":' * 10_000,
    ],
)
def test_what_is_not_json_is_refused(body):
    with pytest.raises(exceptions.ParseError, match="not valid JSON"):
        parse(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":['])
def test_what_is_nested_deeper_than_any_request_is_refused(opening):
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), delete=b'"a:')[::-1]
    body = opening * 500 + b"1" + closing * 500

    with pytest.raises(exceptions.ParseError, match="nested too deeply"):
        parse(body)


def test_a_huge_body_is_refused_unread(settings):
    class Endless:
        read_bytes = 0

        def read(self, size):
            self.read_bytes += size
            return b"x" * size

    stream = Endless()

    with pytest.raises(exceptions.APIException) as refusal:
        CamelCaseJSONParser().parse(stream)

    assert refusal.value.status_code == 413
    assert stream.read_bytes <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1


class Line(serializers.Serializer):
    price_cents = serializers.IntegerField()


class Basket(serializers.Serializer):
    owner_id = serializers.CharField()
    lines = Line(many=True)

    def validate(self, _attrs):
        raise serializers.ValidationError("The basket is full", code="full")


def test_every_error_of_a_form_names_its_field_as_the_client_does():
    form = Basket(data={"lines": [{"price_cents": "x"}]})
    form.is_valid()

    answer = exception_handler(exceptions.ValidationError(form.errors), {})

    assert answer.data["errors"] == [
        {"message": "This field is required.", "code": "required", "field": "ownerId"},
        {
            "message": "A valid integer is required.",
            "code": "invalid",
            "field": "lines.0.priceCents",
        },
    ]


def test_an_error_of_the_form_as_a_whole_names_no_field():
    form = Basket(data={"owner_id": "1", "lines": []})
    form.is_valid()

    answer = exception_handler(exceptions.ValidationError(form.errors), {})

    assert answer.data == {"errors": [{"message": "The basket is full", "code": "full"}]}


def test_a_throttled_client_is_told_when_to_come_back():
    answer = exception_handler(exceptions.Throttled(wait=12.3), {})

    assert answer.status_code == 429
    assert answer["Retry-After"] == "13"
    assert answer.data["errors"][0]["code"] == "throttled"


def test_what_nobody_anticipated_is_left_to_fail():
    assert exception_handler(ZeroDivisionError(), {}) is None


CONFLICT = {"errorLabels": ["TransientTransactionError"]}


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError(), True),
        (InterfaceError(), True),
        (ServerSelectionTimeoutError(), True),
        (caused(DatabaseError(), AutoReconnect()), True),
        (caused(DatabaseError(), ExecutionTimeout("E")), True),
        (caused(TransactionAbandoned(), OperationFailure("E", details=CONFLICT)), True),
        (caused(DatabaseError(), OperationFailure("E")), False),
        (IntegrityError(), False),
        (ValueError(), False),
    ],
)
def test_an_outage_is_told_from_a_refusal_by_the_database(error, expected):
    assert is_outage(error) is expected
