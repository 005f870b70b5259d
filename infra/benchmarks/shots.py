"""Shot detection beside its yardstick: `python infra/benchmarks/shots.py FOLDER`.

FOLDER holds films and, beside each, NAME.cuts.json with `cuts` (first frame of each new shot),
and optionally `gradual` and `ambiguous` stretches in which a prediction counts neither way. Every
film is cut by our detector and by PySceneDetect's adaptive one in turn, so that the processor times
compare, and the least of two counts, since a busy machine only ever adds; probing is left out,
since a recipe probes anyway. A cut counts within one frame.

`--leave-one-out` tunes the thresholds on all films but one and judges that one with them, for each
film in turn; every film is decoded once. It still flatters: the rules themselves were thought out
while looking at films like these. `--rendered COUNT` draws so many films with hard cuts among
flashes, whip pans, dissolves and fades, of a seed on which nothing was tuned.
`--learned` judges the network as well, which needs its extra and some ten times the processor time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np

from clipmill.schemas.records import Probe
from clipmill.stages.compose.render_synthetic import Settings, render
from clipmill.stages.media.limits import Limits
from clipmill.stages.media.probe import probe
from clipmill.stages.media.thumbnails import between, thumbnails
from clipmill.stages.split import learned_shots
from clipmill.stages.split.fast_shots import Seen, Transition, Tuning, detect, transitions

Counts = tuple[int, int, int]  # hits, false alarms, misses
ROUNDS = 2
SEED = 20_261_126  # of the drawn films

GRID = [
    replace(Tuning(), cut=cut, still_cut=still, most=most)
    for cut, still, most in itertools.product((6.0, 7.5, 9.0, 10.5, 12.0), (1, 2, 4), (3, 5, 7))
]


@dataclass
class Film:
    """A labelled film; `frames` are the presentation times of all its pictures."""

    path: Path
    probe: Probe
    truth: dict[str, Any]
    frames: list[int]
    sparse: bool  # whether some of its frames can be left undecoded
    tried: dict[Tuning, Counts] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)  # gradual ones, as last found

    def ours(self) -> list[int]:
        found = detect(self.path, self.probe)
        place = {tick: number for number, tick in enumerate(self.frames)}
        self.spans = [
            (place[item.start_tick], place[item.end_tick])
            for item in found
            if item.kind == "gradual"
        ]
        return self.cuts(found)

    def tuned(self, seen: list[Seen], tuning: Tuning) -> list[int]:
        """Our cuts with other thresholds, from thumbnails that were made before."""
        closely = partial(between, self.path, self.probe)
        return self.cuts(transitions(seen, closely, self.probe.picture.clock, tuning))

    def cuts(self, found: list[Transition]) -> list[int]:
        place = {tick: number for number, tick in enumerate(self.frames)}
        return [place[item.start_tick] for item in found if item.kind == "cut"]

    def gradual(self) -> tuple[int, int, int]:
        """Labelled transitions that a found span touches, how many there are, spans beside them."""
        labelled = [(item[0], item[1]) for item in self.truth.get("gradual", [])]
        undecided = list(self.undecided())
        touched = sum(any(a <= high and low <= b for a, b in self.spans) for low, high in labelled)
        beside = sum(
            not any(a <= high and low <= b for low, high in undecided) for a, b in self.spans
        )
        return touched, len(labelled), beside

    def yardstick(self, detector: str) -> list[int]:
        import scenedetect

        kinds = {"adaptive": scenedetect.AdaptiveDetector, "content": scenedetect.ContentDetector}
        scenes = scenedetect.detect(str(self.path), kinds[detector]())
        tick = float(self.probe.picture.clock.num / self.probe.picture.clock.den)
        times = (np.array(self.frames) - self.frames[0]) * tick
        return [int(np.abs(times - begin.seconds).argmin()) for begin, _ in scenes[1:]]

    def learned(self, judge: Callable[[Any], Any]) -> list[int]:
        source = learned_shots.pictures(self.path, self.probe, Limits())
        return self.cuts(learned_shots.detect(source, judge, 0.5))

    def counts(self, found: list[int]) -> Counts:
        left, hits, alarms = list(self.truth["cuts"]), 0, 0
        for frame in sorted(set(found)):
            near = [cut for cut in left if abs(cut - frame) <= 1]
            if near:
                left.remove(min(near, key=lambda cut: abs(cut - frame)))
                hits += 1
            else:
                alarms += not any(low - 1 <= frame <= high + 1 for low, high in self.undecided())
        return hits, alarms, len(left)

    def undecided(self) -> Iterator[tuple[int, int]]:
        for item in self.truth.get("gradual", []) + self.truth.get("ambiguous", []):
            if isinstance(item, dict):
                item = item.get("frames") or [item["frame"]]
            numbers = [value for value in item if isinstance(value, int)]
            yield min(numbers), max(numbers)


def load(folder: Path) -> list[Film]:
    films = []
    for labels in sorted(folder.glob("*.cuts.json")):
        stem = labels.name.removesuffix(".cuts.json")
        path = next(p for p in folder.glob(f"{stem}.*") if p.suffix not in (".json", ".vtt"))
        films.append(labelled(path, json.loads(labels.read_text())))
    return films


def labelled(path: Path, truth: dict[str, Any]) -> Film:
    facts = probe(path)
    with av.open(str(path)) as container:
        packets = container.demux(container.streams[facts.picture.index])
        frames = sorted(packet.pts for packet in packets if packet.size)
    sparse = sum(1 for _ in thumbnails(path, facts)) < 0.98 * len(frames)
    return Film(path, facts, truth, frames, sparse)


def least(
    works: dict[str, Callable[[], list[int]]], rounds: int
) -> dict[str, tuple[list[int], float]]:
    """By name what each found, and the least processor seconds of it in rounds of all in turn."""
    best: dict[str, tuple[list[int], float]] = {}
    for _ in range(rounds):
        for name, work in works.items():
            found, seconds = timed(work)
            best[name] = (found, min(seconds, best.get(name, (found, seconds))[1]))
    return best


def timed(work: Callable[[], list[int]]) -> tuple[list[int], float]:
    """The result and the processor seconds of all threads."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return found, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def f1(counts: Counts) -> float:
    hits, alarms, misses = counts
    return 2 * hits / (2 * hits + alarms + misses) if hits else float(alarms + misses == 0)


def total(rows: list[Counts]) -> Counts:
    hits, alarms, misses = zip(*rows, strict=True)
    return sum(hits), sum(alarms), sum(misses)


def judged(films: list[Film]) -> None:
    from clipmill.stages.models.shot_network import ShotNetwork

    judge, rows, spent = ShotNetwork(), [], 0.0
    for film in films:
        found, seconds = timed(partial(film.learned, judge))
        rows.append(film.counts(found))
        spent += seconds
        print(f"{film.path.name:34} learned {rows[-1]}  {seconds:.1f} CPU-s", flush=True)
    counts = total(rows)
    print(f"learned    F1 {f1(counts):.3f}  hits/false/missed {counts}  {spent:.0f} CPU-s in all")


def compare(films: list[Film]) -> None:
    names = ("fast", "adaptive", "content")
    rows: dict[str, list[Counts]] = {name: [] for name in names}
    spent: dict[tuple[str, bool], float] = {}
    for film in films:
        line = []
        best = least({"fast": film.ours, "adaptive": partial(film.yardstick, "adaptive")}, ROUNDS)
        best["content"] = timed(partial(film.yardstick, "content"))
        for name in names:
            found, seconds = best[name]
            rows[name].append(film.counts(found))
            spent[name, film.sparse] = spent.get((name, film.sparse), 0.0) + seconds
            line.append("{:>3}/{}/{}".format(*rows[name][-1]))
        kind = "skips" if film.sparse else "-"
        ratio = best["fast"][1] / best["adaptive"][1]
        print(f"{film.path.name:34} {kind:6} {'  '.join(line)}  CPU {ratio:.2f}", flush=True)
    found, labelled, beside = (
        sum(column) for column in zip(*(f.gradual() for f in films), strict=True)
    )
    for name in names:
        print(f"{name:10} F1 {f1(total(rows[name])):.3f}  hits/false/missed {total(rows[name])}")
    print(f"gradual transitions: fast found {found} of {labelled}, and {beside} elsewhere")
    for sparse, label in ((True, "with frames to skip"), (False, "all others")):
        if ("fast", sparse) in spent:
            ratio = spent["fast", sparse] / spent["adaptive", sparse]
            print(f"CPU of fast over adaptive, films {label}: {ratio:.2f}")


def leave_one_out(films: list[Film]) -> None:
    for film in films:
        seen = list(thumbnails(film.path, film.probe))
        film.tried = {tuning: film.counts(film.tuned(seen, tuning)) for tuning in GRID}
    rows = []
    for film in films:
        scores = {t: f1(total([o.tried[t] for o in films if o is not film])) for t in GRID}
        best = [tuning for tuning in GRID if scores[tuning] == max(scores.values())]
        chosen = min(best, key=lambda tuning: sum(_apart(tuning, other) for other in best))
        rows.append(film.tried[chosen])
        print(f"{film.path.name:34} {rows[-1]} with {chosen}", flush=True)
    print(f"leave-one-out F1 {f1(total(rows)):.3f}  hits/false/missed {total(rows)}")


def drawn(count: int) -> None:
    settings = Settings(
        count=count, seed=SEED, min_scenes=3, max_scenes=5, min_seconds=3.0, max_seconds=5.0,
        narration=False, sounds=0.0, upsets=0.6, gradual=0.4,
    )  # fmt: skip
    rows, spans, held = [], [], 0
    with TemporaryDirectory() as folder:
        for video in render(settings, Path(folder)):
            gradual = [(span.start_frame, span.end_frame) for span in video.truth.transitions]
            truth = {"cuts": [cut.frame for cut in video.truth.cuts], "gradual": gradual}
            film = labelled(video.path, truth)
            rows.append(film.counts(film.ours()))
            spans.append(film.gradual())
            held += len(video.truth.upsets)
    found, all_spans, beside = (sum(column) for column in zip(*spans, strict=True))
    print(f"{count} drawn films, {held} flashes and whip pans, {all_spans} gradual transitions:")
    print(f"fast F1 {f1(total(rows)):.3f}  hits/false/missed {total(rows)}")
    print(f"gradual: fast found {found}, and {beside} elsewhere")


def _apart(a: Tuning, b: Tuning) -> float:
    """Of settings that score alike, the one amid the others is taken."""
    pairs = ((a.cut, b.cut), (a.still_cut, b.still_cut), (a.most, b.most))
    return float(sum(abs(np.log(x / y)) for x, y in pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--rendered", type=int, default=0, metavar="COUNT")
    parser.add_argument("--learned", action="store_true")
    parser.add_argument("--predictions", type=Path, help="write our cuts by film as JSON")
    options = parser.parse_args()
    films = load(options.folder)
    if options.predictions:
        cuts = {film.path.name: film.ours() for film in films}
        options.predictions.write_text(json.dumps(cuts))
    compare(films)
    if options.leave_one_out:
        leave_one_out(films)
    if options.rendered:
        drawn(options.rendered)
    if options.learned:
        judged(films)


if __name__ == "__main__":
    main()
