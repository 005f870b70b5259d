"""What is measured while shots are looked for is what would be measured without them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Part, Probe, Segment, Video
from clipmill.stages.caption.describe_clip import DescribeClip
from clipmill.stages.caption.describe_clip import Settings as Describe
from clipmill.stages.media.frames import decode_from
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import content
from clipmill.stages.media.strip import Keep
from clipmill.stages.score.measures import LEAST, ROW, Meter, measured
from clipmill.stages.split.split_shots import Settings as Shots
from clipmill.stages.split.split_shots import SplitShots
from tests.rendered import Rendered

Film = Callable[[str], Rendered]
FORMS = ["plain", "vfr", "vfr_mkv", "transport", "no_times", "no_keys", "late_picture", "turned"]
MOVES: dict[str, Callable[[float], tuple[float, float, float]]] = {
    "static": lambda t: (800, 450, 1),
    "pan_right": lambda t: (700 + 110 * t, 450, 1),
    "pan_left": lambda t: (900 - 60 * t, 450, 1),
    "tilt_up": lambda t: (800, 500 - 60 * t, 1),
    "tilt_down": lambda t: (800, 400 + 60 * t, 1),
    "zoom_in": lambda t: (800, 450, 1.2**t),
    "zoom_out": lambda t: (800, 450, 1.6 * 1.15**-t),
    "mixed": lambda t: (800 + 60 * np.sin(4 * t), 450, 1),
}
"""Where a camera looks after so many seconds, and its magnification, by the right label."""
SECONDS, RATE = 2, 25


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPMILL_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One shot of each move; two of five frames are such that no other refers to them."""
    path = tmp_path_factory.mktemp("moves") / "moves.mp4"
    source = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "20", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for number, look in enumerate(MOVES.values()):
            noise = source.integers(0, 255, (900, 1600, 3), dtype=np.uint8)
            blurred = cv2.GaussianBlur(noise, (0, 0), 4)
            scene = cv2.normalize(blurred, None, 0, 155, cv2.NORM_MINMAX) + number % 2 * 100
            for frame in range(SECONDS * RATE):
                x, y, zoom = look(frame / RATE)
                matrix = np.array([[zoom, 0.0, 160 - zoom * x], [0.0, zoom, 90 - zoom * y]])
                seen = cv2.warpAffine(scene, matrix, (320, 180))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(seen, format="rgb24")))
        container.mux(stream.encode())
    return path


def part_of(path: Path) -> Part:
    return Part(Video("film", str(path), content(str(path)), probe=probe(path)))


def described(part: Part, layer: str = "shots", fps: float = 8.0) -> list[Segment]:
    segments = part.video.layer(layer)
    for segment in segments:
        segment.scores.clear()
        segment.labels.clear()
        segment.texts.clear()
    DescribeClip(Describe(layer=layer, fps=fps)).process(part)
    return segments


def said(segments: list[Segment]) -> list[tuple[Any, ...]]:
    return [
        (s.span, dict(s.scores), dict(s.labels), [t.text for t in s.texts_of("described")])
        for s in segments
    ]


def files(scratch: Path) -> list[Path]:
    return sorted(scratch.glob("*.measures")) if scratch.exists() else []


@pytest.mark.parametrize("name", FORMS)
def test_descriptions_are_the_same_with_and_without_measures(
    film: Film, scratch: Path, name: str
) -> None:
    part = SplitShots(Shots(measure_fps=8)).process(part_of(film(name).path))
    (kept,) = files(scratch)
    # Segments of any kind, not only what was looked for: short, overlapping, in no order.
    drawn, length = random.Random(3), int(1000 * part.video.probe.duration_s)  # type: ignore[union-attr]
    starts = [drawn.randrange(length) for _ in range(12)]
    ends = [start + drawn.choice([40, 200, 700, 2500]) for start in starts]
    spans = [Span(MILLISECONDS, *ends) for ends in zip(starts, ends, strict=True)]
    part.video.add_segments("others", spans)
    first = [said(described(part, layer)) for layer in ("shots", "others")]
    kept.unlink()
    assert [said(described(part, layer)) for layer in ("shots", "others")] == first
    assert all(scores and labels for _, scores, labels, _ in first[0])
    assert files(scratch) == []


def test_measures_come_from_the_pass_and_not_from_the_film(moves: Path, tmp_path: Path) -> None:
    part = SplitShots(Shots(keep=Keep(), measure_fps=8)).process(part_of(moves))
    stub = tmp_path / "emptied.mp4"
    stub.write_bytes(b"")
    part.video.source = str(stub)
    assert [s.labels["camera"] for s in described(part)] == list(MOVES)


@pytest.mark.parametrize("in_passing", [True, False])
def test_moves_of_an_encoded_film_are_named_in_both_ways(
    moves: Path, scratch: Path, in_passing: bool
) -> None:
    facts = probe(moves)
    needed = sum(1 for _ in decode_from(moves, facts, None, None, needed=True))
    assert needed < 0.8 * len(MOVES) * SECONDS * RATE, "the film has no frames to leave out"
    part = SplitShots(Shots(measure_fps=8 if in_passing else None)).process(part_of(moves))
    assert len(files(scratch)) == in_passing
    shots = described(part)
    assert [shot.labels["camera"] for shot in shots] == list(MOVES)
    panned = shots[list(MOVES).index("pan_right")]
    assert panned.scores["motion"] == pytest.approx(110 / np.hypot(320, 180), rel=0.1)


def test_measures_of_another_rate_are_not_used(moves: Path) -> None:
    apart = said(described(SplitShots(Shots()).process(part_of(moves)), fps=4))
    part = SplitShots(Shots(keep=Keep(), measure_fps=8)).process(part_of(moves))
    assert said(described(part, fps=4)) == apart
    assert said(described(part, fps=8)) != apart


def test_shots_do_not_depend_on_whether_measures_are_there(film: Film, scratch: Path) -> None:
    stage = SplitShots(Shots(measure_fps=8))
    spans = []
    for _ in range(2):
        part = stage.process(part_of(film("vfr").path))
        spans.append([segment.span for segment in part.video.layer("shots")])
    assert spans[0] == spans[1]
    assert len(files(scratch)) == 1


def test_a_few_segments_are_described_without_decoding_the_rest(
    moves: Path, tmp_path: Path
) -> None:
    facts, clock = probe(moves), probe(moves).picture.clock
    spans = [Span(clock, clock.tick(at), clock.tick(at + 1.5)) for at in (8.2, 10.2)]
    whole = measured(moves, facts, spans, 8.0)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(with_damage(moves, facts, before_s=6.0))
    found = measured(broken, facts, spans, 8.0)
    assert [rows.tobytes() for rows in found] == [rows.tobytes() for rows in whole]
    beginning = [Span(clock, 0, clock.tick(1.0))]
    hit, spared = (measured(path, facts, beginning, 8.0) for path in (broken, moves))
    assert hit[0].tobytes() != spared[0].tobytes(), "nothing is damaged"


def with_damage(path: Path, facts: Probe, before_s: float) -> bytes:
    """The film's bytes, with the packets of its beginning overwritten."""
    data = bytearray(path.read_bytes())
    for at, size in packets(path, before_s):
        data[at + 4 : at + size] = b"\xff" * (size - 4)
    return bytes(data)


def packets(path: Path, before_s: float) -> Iterator[tuple[int, int]]:
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.pts is not None and packet.pts * packet.time_base < before_s:
                yield packet.pos, packet.size


def test_a_short_segment_is_looked_at_closely(moves: Path) -> None:
    facts, clock = probe(moves), probe(moves).picture.clock
    short, long = (Span(clock, clock.tick(2.5), clock.tick(2.5 + s)) for s in (0.2, 0.6))
    close, coarse = measured(moves, facts, [short, long], 8.0)
    assert np.count_nonzero(coarse["tick"] < short.end) < LEAST <= len(close)


def test_segments_share_what_was_measured(moves: Path) -> None:
    facts = probe(moves)
    whole = facts.span
    (all_rows,) = measured(moves, facts, [whole], 8.0)
    middle = (whole.start + whole.end) // 2
    halves = measured(moves, facts, [replace(whole, end=middle), replace(whole, start=middle)], 8.0)
    assert np.concatenate(halves)["brightness"].tolist() == all_rows["brightness"].tolist()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=8))
def test_a_row_depends_on_its_frame_and_the_one_before_alone(order: list[int]) -> None:
    """Whatever else was seen, and however often pictures are repeated."""
    source = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    pictures = [source, np.roll(source, 2, axis=1), np.zeros_like(source)]
    meter = Meter()
    rows = np.array([meter.row(tick, pictures[k]) for tick, k in enumerate(order)], ROW)
    for tick in range(1, len(order)):
        fresh = Meter()
        fresh.row(tick - 1, pictures[order[tick - 1]])
        alone = np.array(fresh.row(tick, pictures[order[tick]]), ROW)
        assert rows[tick].tobytes() == alone.tobytes()
