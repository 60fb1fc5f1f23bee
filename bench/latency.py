"""From the acknowledged commit to the consumer, at 500 events a second."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer

from bench.debezium import Debezium
from bench.processes import Processes, Started, stopped_at_the_end, wait_until
from bench.relay import DEBEZIUM, RELAYS
from bench.results import Goal, Result, Run, quantile, quantiles
from bench.session import Session
from bench.stores import Database
from bench.topic import BenchTopic, NotVerified

RATE = 500
PUBLISHERS = 2  # one alone is not fast enough on MongoDB
LEFT_OUT = 0.2  # the first share of the events, in which everything becomes warm
P50_MS, P99_MS = 6.0, 25.0
SECONDS_TO_ARRIVE = 60.0


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    seconds = max(2.0, sizes.seconds / sizes.repeat)
    result = Result(
        name="latency",
        title="From the commit to the consumer",
        command=command,
        parameters={
            "events/s": RATE,
            "seconds": seconds,
            "repetitions": sizes.repeat,
            "publishers": PUBLISHERS,
        },
    )
    stores = session.stores()
    debezium = session.debezium()
    debezium.wait_until_running()
    for _ in range(sizes.repeat):
        for database in stores:
            result.runs.append(by_relay(session, database, seconds))
        result.runs.append(by_debezium(session, debezium, seconds))
        for each in result.runs[-3:]:
            session.say(
                f"  {each.name:20} p50 {_p(each, 0.5):6.1f} ms  p99 {_p(each, 0.99):6.1f} ms"
            )
    summarize(result)
    return result


def summarize(result: Result) -> None:
    rows = []
    for name in result.names():
        best = quietest(result, name)
        shown = (f"{_p(best, share):.1f}" for share in (0.5, 0.9, 0.99, 1.0))
        every = " ".join(f"{_p(run, 0.5):.1f}/{_p(run, 0.99):.1f}" for run in result.of(name))
        rows.append((name, *shown, every, f"{best.cpu:.0f}"))
    headings = (
        *("who", "p50 ms", "p90 ms", "p99 ms", "longest ms"),
        *("all repetitions, p50/p99", "CPU µs/event"),
    )
    result.tables.append((headings, rows))
    for name in RELAYS.values():
        for share, bound in ((0.5, P50_MS), (0.99, P99_MS)):
            found = _p(quietest(result, name), share)
            what = f"{name}: p{share * 100:.0f} in ms"
            result.goals.append(Goal(what=what, wanted=bound, found=found, is_most=True))


def quietest(result: Result, name: str) -> Run:
    return min(result.of(name), key=lambda run: _p(run, 0.99))


def _p(run: Run, share: float) -> float:
    values: list[float] = run.values["quantiles_ms"]
    return quantile(values, share)


def by_relay(session: Session, database: Database, seconds: float) -> Run:
    with session.passing_topic() as topic:
        environment = database.environment | {"BENCH_TOPIC": topic.name}
        relay = session.relay(database, topic)
        with stopped_at_the_end([relay]):
            return measure(
                session,
                RELAYS[database.vendor],
                topic=topic,
                environment=environment,
                seconds=seconds,
                workers=[relay],
            )


def by_debezium(session: Session, debezium: Debezium, seconds: float) -> Run:
    debezium.resume()
    debezium.wait_until_running()
    debezium.raw.begin()
    try:
        return measure(
            session,
            DEBEZIUM,
            topic=debezium.raw,
            environment=debezium.environment,
            seconds=seconds,
            workers=[],
        )
    finally:
        debezium.stop()


def measure(  # noqa: PLR0913 (all named)
    session: Session,
    name: str,
    *,
    topic: BenchTopic,
    environment: dict[str, str],
    seconds: float,
    workers: Sequence[Started],
) -> Run:
    with tempfile.TemporaryDirectory() as directory, arrivals(topic) as arrived:
        paths = [Path(directory) / str(number) for number in range(PUBLISHERS)]
        before = session.meter.read([(each.name, each.process.pid) for each in workers])
        publishers = start_publishers(session.processes, environment, seconds, paths)
        with stopped_at_the_end(publishers):
            wait_until(
                lambda: all(path.exists() for path in paths),
                [*workers, *publishers],
                seconds=seconds + SECONDS_TO_ARRIVE,
                every=0.1,
            )
            for each in publishers:
                each.process.wait()
        noted = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        committed = [commit for each in noted for commit in each["committed"]]
        wait_until(
            lambda: len(arrived) >= len(committed), workers, seconds=SECONDS_TO_ARRIVE, every=0.05
        )
        after = session.meter.read([(each.name, each.process.pid) for each in workers])
    expected: dict[bytes, int] = {}
    for _, key, version, _ in committed:
        expected[key.encode()] = max(version, expected.get(key.encode(), 0))
    topic.read(expected)
    used = {who: spent for who, spent in after.since(before).items() if who not in IGNORED}
    return Run(
        name=name,
        events=len(committed),
        rate=len(committed) / max(each["seconds"] for each in noted),
        cpu_us={who: round(1e6 * spent / len(committed), 2) for who, spent in used.items()},
        values={"quantiles_ms": quantiles(latencies(committed, arrived))},
    )


IGNORED = ("harness", "others")  # the publishers are among the latter


def latencies(
    committed: Sequence[tuple[str, str, int, float]], arrived: dict[str, float]
) -> list[float]:
    """Return the milliseconds of each event but the first ones.

    Raises:
        NotVerified: an event that was committed has not arrived.
    """
    later = sorted(committed, key=lambda commit: commit[3])[int(len(committed) * LEFT_OUT) :]
    missing = [event_id for event_id, *_ in later if event_id not in arrived]
    if missing:
        raise NotVerified(f"{len(missing)} of {len(later)} events did not arrive")
    return [(arrived[event_id] - at) * 1000 for event_id, _, _, at in later]


def start_publishers(
    processes: Processes, environment: dict[str, str], seconds: float, paths: Sequence[Path]
) -> list[Started]:
    rate = RATE / len(paths)
    return [
        processes.module("publisher", environment, str(rate), str(seconds), str(path))
        for path in paths
    ]


@contextmanager
def arrivals(topic: BenchTopic) -> Iterator[dict[str, float]]:
    """Note when each event reaches a consumer, by its id, until the block ends."""
    arrived: dict[str, float] = {}
    stopping = threading.Event()
    consumer = topic.consumer(**{"auto.offset.reset": "latest"})
    consumer.assign(topic.places())
    thread = threading.Thread(target=_read, args=(consumer, arrived, stopping))
    thread.start()
    try:
        yield arrived
    finally:
        stopping.set()
        thread.join()
        consumer.close()


def _read(consumer: Consumer, arrived: dict[str, float], stopping: threading.Event) -> None:
    while not stopping.is_set():
        message = consumer.poll(0.2)
        at = time.time()
        if message is None or message.error() is not None:
            continue
        headers = dict(message.headers() or ())
        event_id = headers.get("ce_id") or headers.get("id") or b""
        arrived.setdefault(event_id.decode(), at)
