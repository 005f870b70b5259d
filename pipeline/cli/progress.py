"""The view of a run while it goes on, and its account at the end.

On a terminal a bar of videos and a line per stage are kept up to date; in a log file a line is
written per phase, per tenth of the videos and per minute, because a bar there is only noise. Both
say what teachers have been asked and refused, for those are the hours and the money of a run. Both
go to standard error, so that `--json` has standard output to itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from clipmill.pipeline.engine.events import Event, Summary
from clipmill.pipeline.engine.spending import in_words
from clipmill.pipeline.recipe.recipe import Recipe
from clipmill.stages.models.tab import Bill

PHASES = {
    "inputs": "reading the list of inputs",
    "annotate": "annotating",
    "tables": "writing tables",
    "decide": "deciding what is kept",
    "pack": "packing shards",
    "done": "done",
}
_LINE_S = 60.0  # between two lines of a log while nothing else is told
_SHOWN = 12  # reasons listed in a summary; `clipmill stats` has them all


@dataclass(slots=True)
class Tally:
    """What one stage has done so far."""

    parts: int = 0
    segments: int = 0
    busy_s: float = 0.0
    workers: set[str] = field(default_factory=set)
    bill: Bill | None = None  # of all its teachers, where it asked any


class Counts:
    """Adds up events by stage and by outcome; knows nothing of how they are shown."""

    def __init__(self, stages: list[str]) -> None:
        self.stages = {name: Tally() for name in stages}
        self.failed: dict[str, int] = {}
        self.begun: dict[str, float] = {}  # video -> share of its parts that have ended
        self.started = time.monotonic()

    def add(self, event: Event) -> None:
        for lap in event.laps:
            tally = self.stages.setdefault(lap.stage, Tally())
            tally.parts += 1
            tally.segments += lap.segments
            tally.busy_s += lap.end - lap.start
            tally.workers.add(lap.worker)
            for bill in lap.bills:
                tally.bill = tally.bill + bill if tally.bill else bill
        receipt = event.receipt
        if receipt is None:
            return
        if receipt.failure is not None:
            kind = receipt.failure.kind
            self.failed[kind] = self.failed.get(kind, 0) + 1
        if receipt.part is not None and receipt.total > 1:
            ended = self.begun.pop(receipt.video, 0.0) + 1 / receipt.total
            if ended < 1 - 1e-9:
                self.begun[receipt.video] = ended

    @property
    def elapsed(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    def asked(self) -> list[str]:
        """A phrase for each stage that has asked a teacher: how much, how fast, what it cost."""
        phrases = []
        for name, tally in self.stages.items():
            if tally.bill is not None:
                speed = f"{tally.segments / self.elapsed:.1f} segments/s"
                phrases.append(f"{name} {', '.join([*in_words(asdict(tally.bill)), speed])}")
        return phrases

    def table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        table.add_column("stage")
        for column in ("parts", "segments", "seg/s", "busy s", "actors"):
            table.add_column(column, justify="right")
        if any(tally.bill for tally in self.stages.values()):
            table.add_column("teacher")
        for name, tally in self.stages.items():
            table.add_row(
                Text(name),
                str(tally.parts),
                str(tally.segments),
                f"{tally.segments / self.elapsed:.1f}",
                f"{tally.busy_s:.1f}",
                str(len(tally.workers)),
                *([Text(", ".join(in_words(asdict(tally.bill))))] if tally.bill else []),
            )
        return table


def remaining(elapsed: float, done: float, total: int) -> str:
    """How long it will take if the rest goes as what is done did; nothing while nothing is."""
    if not 0 < done < total:
        return ""
    left = elapsed * (total - done) / done
    return f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"


@contextmanager
def progress(recipe: Recipe) -> Iterator[Callable[[Event], None]]:
    """A listener for `run(on_event=...)` that shows what it hears while the block lasts."""
    console = Console(stderr=True)
    counts = Counts([entry.name for entry in recipe.stages])
    if console.is_terminal:
        with _Terminal(console, counts) as listener:
            yield listener
    else:
        yield _Log(console, counts)


class _Terminal:
    def __init__(self, console: Console, counts: Counts) -> None:
        self.counts = counts
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("[red]{task.fields[failed]}"),
            console=console,
        )
        self.task = self.bar.add_task("starting", total=None, failed="")
        self.live = Live(console=console, refresh_per_second=4, get_renderable=self._view)

    def __enter__(self) -> _Terminal:
        self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.live.stop()

    def __call__(self, event: Event) -> None:
        self.counts.add(event)
        failed = sum(self.counts.failed.values())
        self.bar.update(
            self.task,
            description=PHASES[event.phase],
            completed=event.done,
            total=event.total or None,
            failed=f"{failed} failed" if failed else "",
        )

    def _view(self) -> Group:
        return Group(self.bar, self.counts.table())


class _Log:
    def __init__(self, console: Console, counts: Counts) -> None:
        self.console = console
        self.counts = counts
        self.said: tuple[str, int] = ("", -1)
        self.last = 0.0

    def __call__(self, event: Event) -> None:
        self.counts.add(event)
        tenth = event.done * 10 // event.total if event.total else 0
        elapsed = self.counts.elapsed
        if (event.phase, tenth) == self.said and elapsed < self.last + _LINE_S:
            return
        self.said, self.last = (event.phase, tenth), elapsed
        text = PHASES[event.phase]
        if event.total:
            text += f": {event.done} of {event.total}"
        if self.counts.failed:
            text += f", {sum(self.counts.failed.values())} failed"
        if event.phase == "annotate":
            done = event.done + sum(self.counts.begun.values())
            left = remaining(elapsed, done, event.total)
            text = "; ".join([text, *self.counts.asked(), *([left] if left else [])])
        self.console.print(
            f"[{elapsed:8.1f} s] {text}", markup=False, highlight=False, soft_wrap=True
        )


def print_summary(summary: Summary) -> None:
    """The account of a run. Every count is of videos or of clips, and says which."""
    console = Console(highlight=False)
    table = Table(box=None, padding=(0, 2), show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("inputs", _counted(summary.inputs))
    table.add_row("clips", _counted(summary.clips))
    for title, counts in (("dropped", summary.dropped), ("failed", summary.failed)):
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        for number, (reason, count) in enumerate(ranked[:_SHOWN]):
            table.add_row(title if number == 0 else "", Text(f"{count:>7}  {reason}"))
        if len(ranked) > _SHOWN:
            table.add_row("", f"{len(ranked) - _SHOWN} more reasons: clipmill stats {summary.out}")
    if summary.damaged:
        table.add_row("damaged", f"{summary.damaged} inputs used up to their damage")
    for row in summary.teachers:
        table.add_row("teacher", _billed(row))
    table.add_row("shards", f"{summary.shards} files, {_size(summary.shard_bytes)}")
    table.add_row("time", f"{summary.seconds:.1f} s")
    table.add_row("output", Text(summary.out))
    console.print(table)
    if not summary.ok:
        console.print(Text(f"Some inputs failed. Try them again: clipmill retry {summary.out}"))


def _counted(counts: dict[str, int]) -> Text:
    parts = [f"{count} {state}" for state, count in counts.items() if count]
    return Text(f"{sum(counts.values())}: {', '.join(parts)}" if parts else "none")


def _billed(row: Mapping[str, Any]) -> Text:
    """One stage's bill of one teacher, and the last thing that it could not do."""
    asked, *others = in_words(row)
    text = ", ".join([f"{row['stage']}: {asked} to {row['teacher']}", *others])
    return Text(f"{text}; last error: {row['error']}" if row["error"] else text)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
