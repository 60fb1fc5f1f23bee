"""One measured drain: events that wait, and who sends them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.cpu import HARNESS, OTHERS, CpuMeter
from bench.processes import Started, stopped_at_the_end, wait_until
from bench.results import Run
from bench.topic import BenchTopic

SECONDS_TO_DRAIN = 600.0
OFTEN = 0.01
SELDOM = 0.05


def drain(  # noqa: PLR0913 (all named)
    name: str,
    *,
    topic: BenchTopic,
    expected: Mapping[bytes, int],
    meter: CpuMeter,
    start: Callable[[], Sequence[Started]],
    is_done: Callable[[], bool] = lambda: True,
    skipped: float = 0.0,
) -> Run:
    """Measure from the first record on the topic to the last, and the processors' time beside it.

    Args:
        name: of who drains.
        topic: where the events go.
        expected: each key with its last version.
        meter: knows the servers.
        start: starts the processes; how long they take to begin is not counted.
        is_done: whether all is noted that is to be noted after the last record.
        skipped: the share of the records that the rate leaves out at the beginning.

    Raises:
        NotVerified: something was lost, doubled or reordered.
    """
    events = sum(expected.values())
    started = start()
    with stopped_at_the_end(started):
        wait_until(lambda: topic.count() > 0, started, seconds=SECONDS_TO_DRAIN, every=OFTEN)
        pids = [(each.name, each.process.pid) for each in started]
        already = topic.count()
        before = meter.read(pids)

        def is_over() -> bool:
            return topic.count() >= events and is_done()

        wait_until(is_over, started, seconds=SECONDS_TO_DRAIN, every=SELDOM)
        after = meter.read(pids)
    span = topic.read(expected)
    used = after.since(before)
    others = used.pop(OTHERS)
    used.pop(HARNESS)
    counted = max(1, events - already)
    return Run(
        name=name,
        events=events,
        rate=span.rate(skipped),
        cpu_us={who: round(1e6 * spent / counted, 2) for who, spent in used.items()},
        others=round(others / max(0.001, after.at - before.at), 3),
    )
