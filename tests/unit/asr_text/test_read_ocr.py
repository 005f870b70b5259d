"""Screen text: read from rendered pictures whose words, places and sizes are known."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageDraw, ImageFont

from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.records import Frame, Part, Segment, Video
from clipmill.stages.asr_text.read_ocr import ReadOcr, Settings, distinct, text_share
from clipmill.stages.models.screen_text import ScreenLine

pytest.importorskip("rapidocr", reason="the [ocr] extra is not installed")
WIDTH, HEIGHT = 640, 360


@pytest.fixture(scope="module")
def stage() -> ReadOcr:
    made = ReadOcr(Settings(max_frames=2))
    made.setup()
    return made


def frame(*lines: tuple[str, int, int], tick: int = 0) -> Frame:
    picture = Image.new("RGB", (WIDTH, HEIGHT), (30, 40, 90))
    draw = ImageDraw.Draw(picture)
    for text, x, y in lines:
        draw.text((x, y), text, fill="white", font=ImageFont.load_default(32))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=90)
    return Frame(MILLISECONDS, tick, data.getvalue(), WIDTH, HEIGHT)


def read(stage: ReadOcr, *frames: Frame) -> Segment:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 0, 9000)])
    stage.process(Part(video, frames={"shots-00000": list(frames)} if frames else {}))
    return video.segments[0]


def line(text: str, confidence: float = 0.9, x: float = 0, y: float = 0) -> ScreenLine:
    return ScreenLine(text, confidence, ((x, y), (x + 320, y), (x + 320, y + 36), (x, y + 36)))


def test_words_on_the_screen_are_read_and_their_area_is_about_right(stage: ReadOcr) -> None:
    drawn = ("Breaking news: 42 videos", 60, 150)
    segment = read(stage, frame(drawn))
    assert [t.text for t in segment.texts_of("ocr")] == ["Breaking news: 42 videos"]
    box = ImageDraw.Draw(Image.new("1", (WIDTH, HEIGHT))).textbbox(
        drawn[1:], drawn[0], font=ImageFont.load_default(32)
    )
    truth = (box[2] - box[0]) * (box[3] - box[1]) / (WIDTH * HEIGHT)
    assert truth * 0.8 < segment.scores["text_area"] < truth * 2.2  # detectors add a margin


def test_a_title_that_stays_is_written_once_beside_what_is_new(stage: ReadOcr) -> None:
    title, later = ("Chapter seven", 60, 60), ("The harbour", 60, 250)
    segment = read(stage, frame(title), frame(title, later, tick=1000))
    assert segment.texts_of("ocr")[0].text.splitlines() == ["Chapter seven", "The harbour"]
    assert segment.texts[0].author.model == "rapidocr"


def test_no_text_is_an_area_of_zero_and_no_frames_is_no_score(stage: ReadOcr) -> None:
    empty = read(stage, frame())
    assert empty.scores == {"text_area": 0.0}
    assert not empty.texts
    assert read(stage).scores == {}


def test_a_ring_is_no_letter_however_much_it_looks_like_one(stage: ReadOcr) -> None:
    ring = ("O", 300, 150)
    assert not read(stage, frame(ring)).texts
    lenient = ReadOcr(Settings(min_letters=1))
    lenient.setup()
    assert read(lenient, frame(ring)).texts[0].text == "O"


def test_no_more_frames_are_read_than_allowed_and_they_are_spread(stage: ReadOcr) -> None:
    frames = [frame((f"Page {word}", 60, 60)) for word in ("one", "two", "six", "ten")]
    lines = read(stage, *frames).texts_of("ocr")[0].text.splitlines()
    assert lines == ["Page two", "Page ten"]


def test_readings_that_differ_by_a_slip_are_one_line_and_the_surer_one_stays() -> None:
    first = [line("richard.vencugentec.ro", 0.7), line("LAION", 0.9)]
    second = [line("richard.vencu@gentec.ro", 0.95), line("LAlON", 0.8)]
    assert distinct([first, second]) == ["richard.vencu@gentec.ro", "LAION"]


def test_a_number_that_changes_is_new_text() -> None:
    assert distinct([[line("Score 3 : 1")], [line("Score 3 : 2")]]) == [
        "Score 3 : 1",
        "Score 3 : 2",
    ]


def test_alike_lines_of_one_frame_are_kept_apart() -> None:
    assert distinct([[line("Monday morning"), line("Sunday morning")]]) == [
        "Monday morning",
        "Sunday morning",
    ]


def test_the_text_share_counts_overlapping_boxes_once() -> None:
    assert text_share([line("a"), line("a")], 640, 360) == pytest.approx(0.05, rel=0.1)
    assert text_share([line("a"), line("b", y=180)], 640, 360) == pytest.approx(0.1, rel=0.1)
    assert text_share([], 640, 360) == 0.0
