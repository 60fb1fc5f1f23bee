"""One trace from a request over its event to the effect, and to the event of the effect."""

from __future__ import annotations

import re
import uuid

import orjson
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from apps.outbox import kafka, tracing
from apps.outbox.consumer import CLIENT_OPTIONS, Consumer, to_record
from apps.outbox.context import Trace, current_trace, traced
from apps.outbox.inbox import Together
from apps.outbox.models import OutboxEvent
from apps.outbox.publish import publish
from apps.outbox.receiver import Receiver
from apps.outbox.tests.sending import drain, publish_all, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNRECORDED = CALLER[:-2] + "00"
PROVIDER = TracerProvider()
EXPORTER = InMemorySpanExporter()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture
def spans(monkeypatch):
    """Set an SDK up for this test, and return how to see the spans that have ended since."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", PROVIDER)
    EXPORTER.clear()
    return lambda: {span.name: span for span in EXPORTER.get_finished_spans()}


def consume_one(sending, handler):
    """Let a consumer of the topic hand its first event to the handler."""
    handled = []

    def handle(event):
        handler(event)
        handled.append(event)

    consume(sending, handle, lambda: handled)


def consume(sending, handler, condition):
    group = f"test-{uuid.uuid4().hex[:12]}"
    consumer = Consumer(
        group,
        Receiver(group, {sending.event_class: handler}, sending.codec),
        client=kafka.consumer(group, **CLIENT_OPTIONS),
        send=kafka.Sender().send_one,
    )
    consumer.subscribe()
    try:
        wait_for(lambda: (consumer.run_once(), condition())[1])
    finally:
        consumer.close()


def traceparents(sending, count):
    records = [to_record(message) for message in sending.records(count=count)]
    return {record.key.decode(): record.header("traceparent") for record in records}


def ids(traceparent):
    _, trace_id, span_id, _ = traceparent.split("-")
    return int(trace_id, 16), int(span_id, 16)


def is_child(child, parent):
    return (
        child.context.trace_id == parent.context.trace_id
        and child.parent.span_id == parent.context.span_id
    )


def test_one_trace_from_a_request_to_the_event_of_its_events_effect(sending, spans):
    relay = sending.relay()
    with tracing.serving("POST /gates", Trace(traceparent=CALLER), {}):
        publish_all(sending.opened("north"))
    drain(relay)
    first = spans()
    consume_one(sending, lambda _: publish(sending.opened("south")))
    drain(relay)

    request, create = first["POST /gates"], first[f"create {sending.topic}"]
    send, process = first[f"send {sending.topic}"], spans()[f"process {sending.topic}"]
    again = spans()[f"create {sending.topic}"]
    assert (request.context.trace_id, request.parent.span_id) == ids(CALLER)
    assert is_child(create, request)
    assert is_child(send, create)
    assert is_child(process, create)
    assert is_child(again, process)
    sent = traceparents(sending, count=2)
    assert ids(sent["north"]) == (create.context.trace_id, create.context.span_id)
    assert ids(sent["south"]) == (again.context.trace_id, again.context.span_id)


def test_spans_have_the_names_and_kinds_that_tools_know(sending, spans):
    with tracing.serving("POST /gates", Trace(), {}):
        [event_id] = publish_all(sending.opened("north"))
    drain(sending.relay())
    consume_one(sending, lambda _: None)

    kinds = {name.split()[0]: span.kind for name, span in spans().items()}
    assert kinds == {
        "POST": SpanKind.SERVER,
        "create": SpanKind.PRODUCER,
        "send": SpanKind.CLIENT,
        "process": SpanKind.CONSUMER,
    }
    for name in ("create", "send", "process"):
        attributes = spans()[f"{name} {sending.topic}"].attributes
        assert attributes["messaging.system"] == "kafka"
        assert attributes["messaging.operation.type"] == name
        assert attributes["messaging.destination.name"] == sending.topic
        assert attributes["messaging.kafka.message.key"] == "north"
        assert attributes["messaging.message.id"] == str(event_id)


def test_failed_handler_is_an_error_of_its_span(sending, spans):
    publish_all(sending.opened("north"))
    drain(sending.relay())
    tries = []

    def fail_once(_):
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not today")

    consume_one(sending, fail_once)

    outcomes = [
        span.status.status_code
        for span in EXPORTER.get_finished_spans()
        if span.name.startswith("process")
    ]
    assert outcomes == [StatusCode.ERROR, StatusCode.UNSET]


def consume_together(sending):
    """Let a consumer take three events of one key at once, which publish another."""
    batches = []

    def handle_all(events):
        batches.append([event.version for event in events])
        publish(sending.opened("south", max(event.version for event in events)))

    consume(sending, Together(handle_all), lambda: sum(map(len, batches)) == 3)
    assert batches == [[1, 2, 3]]


def test_events_that_are_handled_together_have_one_span_that_links_to_all_of_them(sending, spans):
    with tracing.serving("POST /gates", Trace(traceparent=CALLER), {}):
        publish_all(*[sending.opened("north", version) for version in (1, 2, 3)])
    drain(sending.relay())
    creates = [each for each in EXPORTER.get_finished_spans() if each.name.startswith("create")]

    consume_together(sending)

    process, again = spans()[f"process {sending.topic}"], spans()[f"create {sending.topic}"]
    assert is_child(process, creates[-1])
    assert {link.context.span_id for link in process.links} == {
        create.context.span_id for create in creates
    }
    assert process.attributes["messaging.batch.message_count"] == 3
    assert is_child(again, process)


def test_what_is_published_for_many_events_is_caused_by_the_last_of_them(sending):
    with traced(Trace(correlation_id="request-1")):
        *_, last = publish_all(*[sending.opened("north", version) for version in (1, 2, 3)])
    drain(sending.relay())

    consume_together(sending)

    headers = orjson.loads(OutboxEvent.objects.get(key="south").headers)
    assert headers["ce_causationid"] == str(last)
    assert headers["ce_correlationid"] == "request-1"


def test_nothing_is_recorded_of_what_its_caller_does_not_record(sending, spans):
    with tracing.serving("POST /gates", Trace(traceparent=UNRECORDED), {}):
        publish_all(sending.opened("north"))
    drain(sending.relay())

    assert not spans()
    assert ids(traceparents(sending, 1)["north"])[0] == ids(CALLER)[0]


def test_without_an_sdk_the_callers_trace_goes_through_everything(sending):
    relay = sending.relay()
    caller = Trace(traceparent=CALLER, tracestate="vendor=1")
    with tracing.serving("POST /gates", caller, {}):
        publish_all(sending.opened("north"))
    drain(relay)
    consume_one(sending, lambda _: publish(sending.opened("south")))
    drain(relay)

    assert traceparents(sending, count=2) == {"north": CALLER, "south": CALLER}
    headers = [orjson.loads(row.headers) for row in OutboxEvent.objects.all()]
    assert {each["tracestate"] for each in headers} == {"vendor=1"}


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        CALLER + "-more",
    ],
)
def test_request_without_a_good_trace_begins_one(given):
    with tracing.serving("GET /", Trace(traceparent=given, tracestate="vendor=1"), {}):
        began = current_trace()

    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", began.traceparent)
    assert began.trace_id != CALLER[3:35]
    assert began.tracestate == ""


WAITED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_work_that_has_waited_goes_on_in_the_trace_in_which_it_began(sending, spans):
    begun = Trace(correlation_id="request-1", causation_id="event-1", traceparent=WAITED)
    with (
        tracing.serving("POST /gates", Trace(traceparent=CALLER), {}),
        tracing.resuming("open gate", begun),
    ):
        assert current_trace().correlation_id == "request-1"
        publish_all(sending.opened("north"))

    request, resumed = spans()["POST /gates"], spans()["open gate"]
    assert (resumed.context.trace_id, resumed.parent.span_id) == ids(WAITED)
    assert [link.context.span_id for link in resumed.links] == [request.context.span_id]
    assert is_child(spans()[f"create {sending.topic}"], resumed)
    headers = orjson.loads(OutboxEvent.objects.get(key="north").headers)
    assert (headers["ce_causationid"], ids(headers["traceparent"])[0]) == (
        "event-1",
        ids(WAITED)[0],
    )


def test_work_in_the_same_trace_keeps_its_own_span(sending, spans):
    with (
        tracing.serving("POST /gates", Trace(traceparent=CALLER), {}),
        tracing.resuming("open gate", Trace(traceparent=CALLER)),
    ):
        publish_all(sending.opened("north"))

    assert "open gate" not in spans()
    assert is_child(spans()[f"create {sending.topic}"], spans()["POST /gates"])


@pytest.mark.parametrize("remembered", ["", "00-what-ever-01"])
def test_without_a_trace_that_was_remembered_work_stays_where_it_is(remembered):
    with (
        traced(Trace(traceparent=CALLER, correlation_id="request-2")),
        tracing.resuming("open gate", Trace(correlation_id="request-1", traceparent=remembered)),
    ):
        assert current_trace() == Trace(traceparent=CALLER, correlation_id="request-1")


def test_without_an_sdk_waiting_work_has_the_traceparent_that_was_remembered():
    with tracing.resuming("open gate", Trace(traceparent=WAITED)):
        assert current_trace().traceparent == WAITED
