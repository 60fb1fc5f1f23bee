"""What a soak shows: memory and latency over time, the first third against the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from prove.load import Told
from prove.measuring import INK, OURS, STYLE, Row, is_failure, percentile
from prove.memory import MEGABYTE, START_SECONDS, THIRDS, Sample
from prove.run import Outcome

HEAD = ("", "first third", "last third")
Moments = dict[str, dict[float, tuple[int, int]]]


def held(samples: Iterable[Sample]) -> Moments:
    """Return what each kind of process, all its processes together, held at each moment.

    The two numbers are bytes of memory, and open files and connections.
    """
    found: Moments = defaultdict(lambda: defaultdict(lambda: (0, 0)))
    for sample in samples:
        memory, files = found[sample.name][sample.at]
        found[sample.name][sample.at] = (memory + sample.memory, files + sample.files)
    return found


def third_rows(outcome: Outcome) -> list[Row]:
    """Return rate, latency, memory and files in the first third and in the last.

    What the first thirty seconds show is left out: connections are opened and caches are filled.
    """
    began = outcome.began + START_SECONDS
    length = (outcome.ended - began) / THIRDS
    spans = [(began, began + length), (outcome.ended - length, outcome.ended)]
    told = [within(outcome.told, *span) for span in spans]
    good = [[each.took * 1000 for each in answers if not is_failure(each)] for answers in told]
    kinds = held(outcome.watch.samples).values()

    def total(which: int, span: tuple[float, float]) -> float:
        """Add up what each kind held in the middle of this time."""
        return sum(
            median([value[which] for at, value in moments.items() if span[0] <= at <= span[1]])
            for moments in kinds
            if any(span[0] <= at <= span[1] for at in moments)
        )

    return [
        ("requests a second", *(f"{len(each) / length:.1f}" for each in told)),
        (
            "without an answer, or 5xx",
            *(f"{len(each) - len(fine)}" for each, fine in zip(told, good, strict=True)),
        ),
        ("p50 ms", *(f"{percentile(each, 50):.0f}" for each in good)),
        ("p95 ms", *(f"{percentile(each, 95):.0f}" for each in good)),
        ("memory of all processes, MB", *(f"{total(0, each) / MEGABYTE:.0f}" for each in spans)),
        ("open files and connections", *(f"{total(1, each):.0f}" for each in spans)),
    ]


def within(told: Iterable[Told], began: float, ended: float) -> list[Told]:
    return [each for each in told if began <= each.at <= ended]


def draw(outcome: Outcome, path: Path) -> None:
    """Draw the memory of each kind of process over time, and latency beneath."""
    length = outcome.ended - outcome.began
    bucket = max(5.0, length / 120)
    buckets: dict[int, list[float]] = defaultdict(list)
    for told in outcome.told:
        if not is_failure(told):
            buckets[int((told.at - outcome.began) / bucket)].append(told.took)
    numbers = range(int(length / bucket))
    minutes = [(number + 0.5) * bucket / 60 for number in numbers]
    colours = mpl.colormaps["tab20"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        memory, latency = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for number, (name, moments) in enumerate(sorted(held(outcome.watch.samples).items())):
            times = [(at - outcome.began) / 60 for at in moments]
            megabytes = [value[0] / MEGABYTE for value in moments.values()]
            memory.plot(times, megabytes, color=colours(number % 20), linewidth=1, label=name)
        memory.set_ylim(bottom=0)
        memory.set_ylabel("resident memory, MB")
        memory.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
        for percent, colour in ((50, OURS), (95, INK)):
            values = [percentile(buckets[n], percent) * 1000 or float("nan") for n in numbers]
            latency.plot(minutes, values, color=colour, label=f"p{percent}")
        latency.set_ylim(bottom=0)
        latency.set_ylabel("milliseconds")
        latency.set_xlabel("minutes")
        latency.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        for axes in (memory, latency):
            axes.grid(axis="x")
        figure.savefig(path, transparent=True, metadata={"Date": None})
