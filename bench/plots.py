"""Pictures of the results. Their colours can be read on white and on black alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.relay import DEBEZIUM, RELAYS
from bench.results import Result, Run

INK = "#7d8590"
OURS, REFERENCE = "#2f81f7", "#a0a8b1"
PARTS = {"ours": OURS, "store": "#bf8700", "kafka": "#1a7f64", "connect": "#bc4c00"}
LINES = {RELAYS["mongodb"]: "#1a7f64", RELAYS["postgresql"]: OURS, DEBEZIUM: "#bc4c00"}
STORES = ("mongod", "postgres")
STYLE = {
    "svg.hashsalt": "bench",  # the same numbers make the same file
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
}
LOGARITHMIC = "log"


@contextmanager
def picture(path: Path, height: float) -> Iterator[Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, height), layout="constrained")
        axes: Axes = figure.subplots()
        yield axes
        figure.savefig(path, transparent=True, metadata={"Date": None})


def plot_rates(result: Result, path: Path) -> None:
    """Draw a bar for the quietest repetition of each, and a dot for every one."""
    names = result.names()
    with picture(path, 0.5 * len(names) + 0.9) as axes:
        colours = [OURS if is_ours(name) else REFERENCE for name in names]
        axes.barh(names, [result.best(name).rate for name in names], color=colours, height=0.6)
        for name in names:
            rates = [run.rate for run in result.of(name)]
            axes.plot(rates, [name] * len(rates), "o", color=INK, markersize=3)
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("events a second (bar: quietest repetition, dots: all)")


def plot_cpu(result: Result, path: Path) -> None:
    """Draw what one event costs in processor time, and who spends it."""
    runs = [min(result.of(name), key=lambda run: run.cpu) for name in result.names()]
    with picture(path, 0.5 * len(runs) + 1.3) as axes:
        left = [0.0] * len(runs)
        names = [run.name for run in runs]
        for part, colour in PARTS.items():
            widths = [share(run, part) for run in runs]
            label = {"ours": "relay or loop", "store": "database"}.get(part, part)
            axes.barh(names, widths, left=left, color=colour, height=0.6, label=label)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel("microseconds of processor time for one event, all processes")
        axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0))


def share(run: Run, part: str) -> float:
    servers = {*STORES, "kafka", "connect", "registry"}
    of_part = {"store": set(STORES), "ours": run.cpu_us.keys() - servers}.get(part, {part})
    return sum(spent for who, spent in run.cpu_us.items() if who in of_part)


def is_ours(name: str) -> bool:
    return name in RELAYS.values()


def plot_latency(result: Result, path: Path) -> None:
    """Draw the share of the events that have arrived after so many milliseconds."""
    with picture(path, 3.6) as axes:
        for name in result.names():
            for number, run in enumerate(result.of(name)):
                values: Sequence[float] = run.values["quantiles_ms"]
                shares = [i / (len(values) - 1) for i in range(len(values))]
                label = name if number == 0 else None
                axes.plot(values, shares, color=LINES.get(name, INK), label=label, linewidth=1.2)
        axes.set_xscale(LOGARITHMIC)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.set_xlim(left=0.5)
        axes.grid()
        axes.set_xlabel("milliseconds from the acknowledged commit to the consumer")
        axes.set_ylabel("of the events")
        axes.legend(loc="lower right")


def plot_growth(result: Result, path: Path) -> None:
    """Draw the rate over the number of rows that were published before."""
    sizes: Sequence[int] = result.parameters["published"]
    with picture(path, 3.2) as axes:
        for name in RELAYS.values():
            rates = [result.best(f"{name}, {size:,} published").rate for size in sizes]
            axes.plot(sizes, rates, "o-", color=LINES[name], label=name)
        axes.set_xscale(LOGARITHMIC)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid()
        axes.set_xlabel("rows published before")
        axes.set_ylabel("events a second")
        axes.legend(loc="lower left")


def plot_all(results: dict[str, Result], directory: Path) -> list[Path]:
    """Draw what there are results of, and return the files."""
    pictures = (
        ("relay", "bench-relay.svg", plot_rates),
        ("relay", "bench-cpu.svg", plot_cpu),
        ("latency", "bench-latency.svg", plot_latency),
        ("growth", "bench-growth.svg", plot_growth),
    )
    drawn = []
    directory.mkdir(parents=True, exist_ok=True)
    for name, file, plot in pictures:
        if name in results:
            plot(results[name], directory / file)
            drawn.append(directory / file)
    return drawn
