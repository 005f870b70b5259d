"""Pictures kept while shots are looked for are those that would be decoded without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Probe, Video
from clipmill.stages.frames.sample_frames import SampleFrames
from clipmill.stages.frames.sample_frames import Settings as Frames
from clipmill.stages.media.frames import raw
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import content
from clipmill.stages.media.strip import Grid, Keep, StripWish, chosen, strip_path
from clipmill.stages.media.strip import Writer as StripTaker
from clipmill.stages.split.fast_shots import detect
from clipmill.stages.split.split_shots import Settings as Shots
from clipmill.stages.split.split_shots import SplitShots
from tests.rendered import Rendered

Film = Callable[[str], Rendered]
FORMS = ["plain", "vfr", "vfr_mkv", "transport", "no_times", "no_keys", "late_picture", "turned"]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPMILL_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def part_of(truth: Rendered) -> Part:
    source = str(truth.path)
    return Part(Video("film", source, content(source), probe=probe(truth.path)))


def pictures(part: Part, **options: object) -> dict[str, list[Frame]]:
    stage = SampleFrames(Frames(policy="kept", **options))  # type: ignore[arg-type]
    return stage.process(part).frames


def strips(scratch: Path) -> list[Path]:
    return sorted(scratch.glob("*.strip")) if scratch.exists() else []


@pytest.mark.parametrize("fps", [4.0, 12.5])
@pytest.mark.parametrize("name", FORMS)
def test_pictures_are_the_same_with_and_without_a_strip(
    film: Film, scratch: Path, name: str, fps: float
) -> None:
    part = SplitShots(Shots(keep=Keep(fps=fps))).process(part_of(film(name)))
    (kept,) = strips(scratch)
    taken = dict(pictures(part, fps=fps, count=5))
    assert set(taken) == {segment.id for segment in part.video.layer("shots")}
    for segment in part.video.layer("shots"):
        ticks = [frame.tick for frame in taken[segment.id]]
        assert ticks == sorted(set(ticks))
        assert segment.span.start <= ticks[0]
        assert ticks[-1] < segment.span.end
    kept.unlink()
    part.frames.clear()
    assert pictures(part, fps=fps, count=5) == taken
    assert strips(scratch) == []


def test_pictures_come_from_the_strip_and_not_from_the_film(
    film: Film, tmp_path: Path, scratch: Path
) -> None:
    truth = film("plain")
    part = SplitShots(Shots(keep=Keep(fps=5))).process(part_of(truth))
    stub = tmp_path / "emptied.mp4"
    stub.write_bytes(b"")
    part.video.source = str(stub)
    taken = pictures(part, fps=5)
    assert {len(frames) for frames in taken.values()} == {6, 8}


def test_shots_do_not_depend_on_whether_a_strip_is_there(film: Film, scratch: Path) -> None:
    stage = SplitShots(Shots(keep=Keep()))
    spans = []
    for _ in range(2):
        part = stage.process(part_of(film("vfr")))
        spans.append([segment.span for segment in part.video.layer("shots")])
    assert spans[0] == spans[1]
    assert len(strips(scratch)) == 1


def test_other_pictures_than_the_kept_ones_are_decoded(film: Film, scratch: Path) -> None:
    part = SplitShots(Shots(keep=Keep(fps=5, max_side=64))).process(part_of(film("plain")))
    frames = [frame for some in pictures(part, fps=5).values() for frame in some]
    assert {frame.width for frame in frames} == {192}


def test_a_shot_between_two_kept_pictures_still_has_one(film: Film) -> None:
    truth = film("plain")
    part = part_of(truth)
    clock = part.video.probe.picture.clock if part.video.probe else None
    assert clock is not None
    part.video.add_segments("shots", [Span(clock, truth.ticks[40], truth.ticks[44])])
    (frame,) = pictures(part, fps=0.5)["shots-00000"]
    assert truth.ticks[40] <= frame.tick < truth.ticks[44]


def test_a_failed_pass_leaves_no_strip(film: Film, scratch: Path, tmp_path: Path) -> None:
    part = part_of(film("plain"))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film("plain").path.read_bytes()[:2000])
    part.video.source = str(broken)
    with pytest.raises(Exception, match="container"):
        SplitShots(Shots(keep=Keep())).process(part)
    assert list(scratch.glob("*")) == []


@dataclass(frozen=True)
class FullDisk:
    """A wish for a file on a disk that takes nothing more."""

    path: Path

    def room(self, probe: Probe) -> int:
        return 0

    def begin(self, path: Path, probe: Probe) -> StripTaker:
        return StripTaker(Path("/dev/full"), probe, Keep(fps=25))


def test_a_full_disk_costs_a_strip_and_not_the_shots(film: Film, scratch: Path) -> None:
    truth = film("plain")
    facts = probe(truth.path)
    scratch.mkdir()
    wishes = [FullDisk(scratch / "lost"), StripWish(scratch / "kept", Keep())]
    found = detect(truth.path, facts, wishes=wishes)
    assert [change.start_tick for change in found] == truth.cut_ticks
    assert [file.name for file in scratch.iterdir()] == ["kept"]


def test_a_film_of_unknown_content_is_not_kept() -> None:
    assert strip_path(None, None, Keep()) is None  # type: ignore[arg-type]


def test_one_frame_of_each_cell_is_kept(film: Film) -> None:
    truth = film("vfr")
    facts = probe(truth.path)
    grid = Grid(facts, 3.0)
    kept = [tick for tick, _ in raw(truth.path, facts, None, None) if grid.keeps(tick)]
    first = truth.ticks[0]
    cells = [int((tick - first) * truth.time_base * 3) for tick in kept]
    assert cells == sorted(set(cells))
    for cell in cells:
        assert grid.cell(grid.start(cell)) == cell
        assert grid.cell(grid.start(cell) - 1) == cell - 1


def test_pictures_are_spread_over_the_span() -> None:
    span = Span(MILLISECONDS, 0, 100)
    assert chosen(list(range(0, 100, 5)), span, 4) in ([10, 35, 60, 85], [15, 40, 65, 90])
    assert chosen([1, 2, 3], span, 8) == [1, 2, 3]
    assert chosen([1, 2, 3, 99], span, 2) == [3, 99]
