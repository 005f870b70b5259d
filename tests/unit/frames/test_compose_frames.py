"""Grids hold every frame once and in order; clocks say the time of the frame that they are in."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))

from clock_reader import read_clock

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Video
from clipmill.stages.frames.compose_frames import ComposeFrames, Corner, Settings
from clipmill.stages.models.screen_text import ScreenText

SIZE = (96, 64)


def frame(second: float, gray: int, size: tuple[int, int] = SIZE) -> Frame:
    sink = io.BytesIO()
    Image.new("RGB", size, (gray, gray, gray)).save(sink, "JPEG", quality=95)
    return Frame(MILLISECONDS, round(second * 1000), sink.getvalue(), *size)


def composed(frames: list[Frame], **settings: object) -> list[Frame]:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 0, 10**8)])
    part = Part(video, frames={video.segments[0].id: frames})
    return ComposeFrames(Settings(**settings)).process(part).frames[video.segments[0].id]


def cells(grid: Frame, rows: int, columns: int) -> list[int]:
    """Brightness of every cell's middle, row by row."""
    pixels = np.asarray(Image.open(io.BytesIO(grid.jpeg)).convert("L"))
    tall, wide = pixels.shape[0] // rows, pixels.shape[1] // columns
    return [
        int(pixels[row * tall + tall // 2, column * wide + wide // 2])
        for row in range(rows)
        for column in range(columns)
    ]


@given(
    count=st.integers(1, 14),
    rows=st.integers(1, 3),
    columns=st.integers(2, 4),
    side=st.sampled_from([60, 150, 1024]),
)
def test_a_grid_holds_every_frame_once_in_order_and_black_where_none_is_left(
    count: int, rows: int, columns: int, side: int
) -> None:
    grays = [40 + 15 * number for number in range(count)]
    grids = composed(
        [frame(n / 2, gray) for n, gray in enumerate(grays)],
        rows=rows, columns=columns, max_side=side,
    )  # fmt: skip
    assert len(grids) == math.ceil(count / (rows * columns))
    shown = [gray for grid in grids for gray in cells(grid, rows, columns)]
    empty = len(shown) - count
    assert all(abs(a - b) <= 4 for a, b in zip(shown, grays + [0] * empty, strict=True))
    for number, grid in enumerate(grids):
        assert grid.tick == number * rows * columns * 500, "a grid bears its first cell's time"
        assert Image.open(io.BytesIO(grid.jpeg)).size == (grid.width, grid.height)
        assert max(grid.width, grid.height) <= side


def test_frames_are_spread_over_the_grids_that_are_wanted() -> None:
    frames = [frame(second, 2 * second) for second in range(100)]
    [grid] = composed(frames, rows=2, columns=3, grids=1)
    assert np.abs(np.diff(cells(grid, 2, 3)) - 33).max() <= 6, "evenly spread over the clip"
    few = composed(frames[:4], rows=2, columns=3, grids=1)
    assert len(few) == 1 and cells(few[0], 2, 3)[-1] < 5


SECONDS = (0, 0.999, 59.9, 61, 3599.04, 3600, 36061.5, 86399)
FACES = (
    "00:00:00", "00:00:00", "00:00:59", "00:01:01", "00:59:59", "01:00:00", "10:01:01", "23:59:59",
)  # fmt: skip


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
@pytest.mark.parametrize("size", [(112, 84), (320, 180), (180, 320)])
def test_the_clock_says_the_second_that_has_begun(size: tuple[int, int], corner: Corner) -> None:
    for gray in (0, 128, 255):
        frames = [frame(second, gray, size) for second in SECONDS]
        assert [read_clock(f.jpeg, corner) for f in frames] != list(FACES)
        clocked = composed(frames, clock=True, corner=corner)
        assert tuple(read_clock(f.jpeg, corner) for f in clocked) == FACES
        assert [f.tick for f in clocked] == [f.tick for f in frames]


def test_a_common_reader_of_screen_text_reads_the_clock() -> None:
    pytest.importorskip("rapidocr", reason="the [ocr] extra is not installed")
    [clocked] = composed([frame(27245.2, 90, (512, 288))], clock=True)
    assert [line.text.strip() for line in ScreenText().read(clocked.jpeg)] == ["07:34:05"]


def test_every_cell_of_a_grid_has_its_own_clock() -> None:
    frames = [frame(10 * number, 100, (240, 160)) for number in range(4)]
    [grid] = composed(frames, rows=2, columns=2, clock=True)
    whole = Image.open(io.BytesIO(grid.jpeg))
    for number in range(4):
        row, column = divmod(number, 2)
        sink = io.BytesIO()
        box = (column * 240, row * 160, (column + 1) * 240, (row + 1) * 160)
        whole.crop(box).save(sink, "JPEG", quality=95)
        assert read_clock(sink.getvalue()) == f"00:00:{10 * number:02d}"


def test_a_stage_that_composes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compose"):
        Settings()
