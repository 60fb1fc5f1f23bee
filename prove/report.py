"""What a run did, for a terminal, for a page and as a picture."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from prove import memory, soaking, watching
from prove.faults import Done
from prove.load import Told
from prove.measuring import BAD, INK, OURS, STYLE, Row, is_failure, percentile
from prove.rules import RULES
from prove.run import Outcome

COLOURS = {
    "kill": "#cf222e",
    "term": "#57606a",
    "stop": "#bf8700",
    "clock": "#116329",
    "down": "#8250df",
    "full": "#4d2d8f",
    "wipe": "#6e7781",
    "cut": "#bc4c00",
    "slow": "#d4a72c",
    "stall": "#9a6700",
    "provider": "#1a7f64",
    "poison": "#bf3989",
    "twin": "#0969da",
    "version": "#1b7c83",
    "schema": "#953800",
    "storm": "#0550ae",
}
MEANINGS = {
    "kill": "kill -9",
    "term": "SIGTERM: asked to stop, as in a roll-out",
    "stop": "SIGSTOP for longer than any lease, then SIGCONT",
    "clock": "the clock jumps by minutes or an hour while the process goes on, and back",
    "down": "a server killed and kept away",
    "full": "every write to a file fails, as on a full disk",
    "wipe": "Redis emptied",
    "cut": "connections reset and refused",
    "slow": "0.2 s on each chunk of data, both ways",
    "stall": "half open: connections stay, no byte passes",
    "provider": "requests lost, answers lost, errors 500; webhooks dropped, doubled, late",
    "poison": "records that are no events",
    "twin": "a second process of a kind that has one",
    "version": "processes of an earlier version, beside or in place of the present ones",
    "schema": "events of a newer schema, which has one more field",
    "storm": "members of a consumer group join and leave, again and again",
}
COST_WORDS = (
    "Answers are those that are neither 5xx nor missing. The first line is the time before the "
    "first fault."
)


def cost(told: Iterable[Told], spans: Sequence[tuple[float, float]]) -> Row:
    """Return answers a second, failures and latency within these spans of time."""
    within = [each for each in told if any(began <= each.at <= ended for began, ended in spans)]
    seconds = sum(ended - began for began, ended in spans)
    good = [each.took for each in within if not is_failure(each)]
    failed = len(within) - len(good)
    return (
        f"{seconds:.0f}",
        f"{len(good) / seconds:.1f}" if seconds else "",
        f"{failed:,} ({failed / len(within):.1%})" if within else "0",
        f"{percentile(good, 50) * 1000:.0f}",
        f"{percentile(good, 95) * 1000:.0f}",
    )


def fault_rows(outcome: Outcome) -> list[Row]:
    """Return what each kind of fault cost: the time before the first fault comes first."""
    kinds: dict[str, list[Done]] = defaultdict(list)
    for done in outcome.done:
        kinds[done.fault.kind].append(done)
    first = min((done.began for done in outcome.done), default=outcome.ended)
    rows: list[Row] = [("none", "", *cost(outcome.told, [(outcome.began, first)]))]
    for kind in MEANINGS:
        if found := kinds.get(kind):
            times = sum(len(done.fault.targets) for done in found)
            spans = [(done.began, done.ended + 1) for done in found]
            rows.append((kind, f"{times}", *cost(outcome.told, spans)))
    return rows


FAULT_HEAD = ("fault", "times", "seconds", "answers/s", "failed", "p50 ms", "p95 ms")


def fact_rows(outcome: Outcome) -> list[Row]:
    told = Counter((each.what, each.status) for each in outcome.told)
    targets = sum(len(done.fault.targets) for done in outcome.done)
    again = outcome.verdict.counts["sent again"]
    return [
        ("seed", f"{outcome.plan.seed}"),
        ("earlier version", outcome.earlier or "none: git's history is not at hand"),
        ("load and faults", f"{outcome.ended - outcome.began:.0f} s"),
        ("requests", f"{len(outcome.told):,}"),
        ("without an answer, or 5xx", f"{sum(map(is_failure, outcome.told)):,}"),
        ("tickets listed", f"{told['list', 201]:,}"),
        ("orders made (201)", f"{told['reserve', 201]:,}"),
        ("reservations refused (400)", f"{told['reserve', 400]:,}"),
        ("payments taken (201)", f"{told['pay', 201]:,}"),
        ("cancelled (204)", f"{told['cancel', 204]:,}"),
        ("faults", f"{len(outcome.done):,}, on {targets:,} targets"),
        ("members that a storm led into groups", f"{outcome.comers:,}"),
        ("restarts of processes", f"{sum(outcome.restarts.values()):,}"),
        ("events", f"{outcome.verdict.counts['events']:,}"),
        ("records of a newer schema", f"{outcome.verdict.counts['newer']:,}"),
        ("records sent again", f"{again:,}"),
        ("effects in consumers", f"{outcome.verdict.counts['effects']:,}"),
        (
            "every rule held",
            "never"
            if outcome.verdict.rest is None
            else f"{outcome.verdict.rest:.0f} s after the {outcome.plan.last}",
        ),
        ("violations", f"{len(outcome.verdict.violations):,}"),
    ]


def rule_rows(outcome: Outcome) -> list[Row]:
    broken = Counter(violation.rule for violation in outcome.verdict.violations)
    rules = RULES | watching.RULES
    rows: list[Row] = [(name, meaning, f"{broken.pop(name, 0)}") for name, meaning in rules.items()]
    rows.append(
        (
            "events",
            "none lost, invented, torn, changed or out of order; one effect each",
            f"{broken.total()}",
        )
    )
    return rows


MEMORY_HEAD = ("process", "seconds", "MB at first", "MB at last", "files at first", "at last")
MEMORY_WORDS = (
    "Of each kind of process the one that grew most, in the first and the last third of its life, "
    "less its start. Who was ended sooner than after two and a half minutes is not judged."
)


def memory_rows(outcome: Outcome) -> list[Row]:
    """Return what each kind of process held, who grew most first."""
    rows: dict[str, Row] = {}
    for life in memory.lives(outcome.watch.samples):
        rows.setdefault(
            life.name,
            (
                life.name,
                f"{life.seconds:.0f}",
                *(f"{each / memory.MEGABYTE:.0f}" for each in life.memory[::2]),
                *(f"{each:.0f}" for each in life.files[::2]),
            ),
        )
    return list(rows.values())


MOST_TOLD, MOST_VIOLATIONS_TOLD = 5, 30


def as_text(head: Row, rows: Sequence[Row]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join(lines)


def as_markdown(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def for_terminal(outcome: Outcome) -> str:
    soak = outcome.plan.soak
    parts = [
        as_text(("", ""), fact_rows(outcome)),
        as_text(soaking.HEAD, soaking.third_rows(outcome))
        if soak
        else as_text(FAULT_HEAD, fault_rows(outcome)),
        as_text(("rule", "", "broken"), rule_rows(outcome)),
        as_text(MEMORY_HEAD, memory_rows(outcome)[:MOST_TOLD]),
        "\n".join(map(str, outcome.verdict.violations[:MOST_VIOLATIONS_TOLD])),
    ]
    return "\n\n".join(parts)


def write(outcome: Outcome, directory: Path) -> list[Path]:
    """Write the report and its picture, and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    if outcome.plan.soak:
        page, picture = directory / "soak-run.md", directory / "soak-timeline.svg"
        soaking.draw(outcome, picture)
    else:
        page, picture = directory / "proof-run.md", directory / "proof-timeline.svg"
        draw(outcome, picture)
    at = datetime.fromtimestamp(outcome.began, UTC)
    parts = (
        f"# Run of {at:%Y-%m-%d %H:%M} UTC, seed {outcome.plan.seed}",
        as_markdown(("", ""), fact_rows(outcome)),
        *(of_soak(outcome, picture) if outcome.plan.soak else of_faults(outcome, picture)),
        "## Rules",
        as_markdown(("rule", "", "broken"), rule_rows(outcome)),
        *(f"- {violation}" for violation in outcome.verdict.violations),
        "## Memory",
        MEMORY_WORDS,
        as_markdown(MEMORY_HEAD, memory_rows(outcome)),
    )
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [page, picture]


def of_faults(outcome: Outcome, picture: Path) -> Row:
    """Return what the page says of the faults."""
    return (
        f"![Faults against throughput and latency]({picture.name})",
        "## What was broken, and what it cost",
        COST_WORDS,
        as_markdown(FAULT_HEAD, fault_rows(outcome)),
        as_markdown(("fault", "what was done"), list(MEANINGS.items())),
    )


def of_soak(outcome: Outcome, picture: Path) -> Row:
    """Return what the page says of a run without a fault."""
    return (
        f"![Memory and latency over time]({picture.name})",
        "## From beginning to end",
        as_markdown(soaking.HEAD, soaking.third_rows(outcome)),
    )


def draw(outcome: Outcome, path: Path) -> None:
    """Draw throughput, failures and latency over time, with the faults beneath."""
    length = outcome.ended - outcome.began
    bucket = max(2.0, length / 150)
    buckets: dict[int, list[Told]] = defaultdict(list)
    for told in outcome.told:
        buckets[int((told.at - outcome.began) / bucket)].append(told)
    numbers = range(int(length / bucket))
    minutes = [(number + 0.5) * bucket / 60 for number in numbers]
    good = [[each.took for each in buckets[n] if not is_failure(each)] for n in numbers]
    bad = [sum(map(is_failure, buckets[n])) / bucket for n in numbers]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 6.2), layout="constrained")
        rate, latency, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 3))
        rate.plot(minutes, [len(each) / bucket for each in good], color=OURS, label="answered")
        rate.fill_between(minutes, bad, color=BAD, alpha=0.7, label="no answer, or 5xx")
        rate.set_ylabel("requests a second")
        rate.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0))
        for percent, colour in ((50, OURS), (95, INK)):
            values = [percentile(each, percent) * 1000 or float("nan") for each in good]
            latency.plot(minutes, values, color=colour, label=f"p{percent}")
        latency.set_yscale("log")
        latency.set_ylabel("milliseconds")
        latency.legend(ncols=2, loc="lower right", bbox_to_anchor=(1.0, 0.98))
        for done in outcome.done:
            began, ended = (done.began - outcome.began) / 60, (done.ended - outcome.began) / 60
            below.barh(
                done.fault.kind,
                max(ended - began, bucket / 120),
                left=began,
                color=COLOURS[done.fault.kind],
                height=0.7,
            )
        below.invert_yaxis()
        below.set_xlabel("minutes")
        for axes in (rate, latency, below):
            axes.grid(axis="x")
        rate.set_ylim(bottom=0)
        figure.savefig(path, transparent=True, metadata={"Date": None})
