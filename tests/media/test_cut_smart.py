"""Smart cuts and copies hold exactly their span's frames in every reader at hand.

PyAV and OpenCV always are; torchcodec (0.12.0 beside torch 2.13, with FFmpeg's shared libraries)
and decord (0.6.0) take part wherever they are installed, in an environment of their own.
"""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Probe
from clipmill.stages.clip.cut_clip import ClipMedia, CutClip, Settings
from clipmill.stages.media import sandbox
from clipmill.stages.media.audio import audio
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from tests.media.conftest import SCENES, uneven
from tests.rendered import Rendered, beeps_in, number_of, render

BEEPS = [0.5, 2.0, 3.1]
SPANS = {"inner": (17, 95), "cut": (30, 70), "head": (0, 41), "tail": (71, 120), "whole": (0, 120)}
FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain.mp4", {"beeps": BEEPS, "bframes": 0}),
    "b_frames": ("b.mp4", {"beeps": BEEPS, "bframes": 3}),
    "vfr": ("vfr.mp4", {"durations": uneven(Fraction(1, 12800)), "bframes": 3, "beeps": BEEPS}),
    "vfr_mkv": (
        "vfr.mkv",
        {"durations": uneven(Fraction(1, 1000)), "time_base": Fraction(1, 1000), "beeps": BEEPS},
    ),
    "edit_list": ("late.mp4", {"beeps": BEEPS, "offset": 6400, "bframes": 3}),
    "two_pictures": ("two.mov", {"second": True, "beeps": BEEPS, "bframes": 3}),
    "late_sound": ("late_sound.mp4", {"beeps": BEEPS, "sound_offset": 0.7}),
    "open_groups": (
        "open.mp4",
        {"bframes": 3, "options": {"x264-params": "open-gop=1:scenecut=0", "crf": "18"}},
    ),
    "turned": ("turned.mp4", {"rotation": 90}),
    "fields": ("fields.mp4", {"options": {"x264-params": "tff=1"}}),
    "hevc": ("hevc.mp4", {"codec": "libx265", "bframes": 3}),
    "vp9": ("vp9.webm", {"codec": "libvpx-vp9", "time_base": Fraction(1, 1000)}),
    "baseline": ("baseline.mp4", {"bframes": 0, "options": {"profile": "baseline", "crf": "18"}}),
    "no_keys": ("no_keys.mp4", {"gop": 1000, "bframes": 3, "options": {"sc_threshold": "0"}}),
}
SMART = ("plain", "b_frames", "vfr", "vfr_mkv", "edit_list", "two_pictures", "late_sound")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Rendered]]:
    folder = tmp_path_factory.mktemp("films")
    made: dict[str, Rendered] = {}

    def get(name: str) -> Rendered:
        if name not in made:
            file, options = FILMS[name]
            made[name] = render(folder / file, SCENES, **options)
        return made[name]

    yield get
    sandbox.close()


def with_pyav(path: Path) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="gray")


def with_opencv(path: Path) -> Iterator[NDArray[np.uint8]]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield np.asarray(read[1], np.uint8)
    capture.release()


def with_torchcodec(mode: str) -> Callable[[Path], Iterator[NDArray[np.uint8]]]:
    def frames(path: Path) -> Iterator[NDArray[np.uint8]]:
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(str(path), dimension_order="NHWC", seek_mode=mode)
        for number in range(len(decoder)):
            yield decoder[number].numpy()

    return frames


def with_decord(path: Path) -> Iterator[NDArray[np.uint8]]:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    for number in range(len(reader)):
        yield reader[number].asnumpy()


READERS: dict[str, Callable[[Path], Iterator[NDArray[np.uint8]]]] = {
    "pyav": with_pyav,
    "opencv": with_opencv,
}
if importlib.util.find_spec("torchcodec"):
    READERS |= {"exact": with_torchcodec("exact"), "approximate": with_torchcodec("approximate")}
if importlib.util.find_spec("decord"):
    READERS["decord"] = with_decord


def spans_of(found: Probe, ticks: list[int], wanted: dict[str, tuple[int, int]]) -> dict[str, Span]:
    ends = [*ticks, found.picture.end or 0]
    return {key: Span(found.picture.clock, ends[a], ends[b]) for key, (a, b) in wanted.items()}


def ticks_of(path: Path, found: Probe) -> list[int]:
    return [tick for tick, _ in scan(path, found, width=16, gray=True)]


def cut(truth: Rendered, folder: Path, mode: str) -> tuple[Probe, dict[str, ClipMedia]]:
    found = probe(truth.path)
    spans = spans_of(found, ticks_of(truth.path, found), SPANS)
    cutter = CutClip(Settings.model_validate({"mode": mode}))
    return found, cutter.cut(truth.path, found, spans, folder)


ENCODED = ("b_frames", "vfr", "edit_list", "two_pictures")


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, "smart") for name in FILMS if name != "turned"] + [(n, "encode") for n in ENCODED],
)
def test_every_reader_sees_exactly_the_frames_of_the_span(
    film: Callable[[str], Rendered], tmp_path: Path, name: str, mode: str
) -> None:
    truth = film(name)
    found, clips = cut(truth, tmp_path, mode)
    ticks = ticks_of(truth.path, found)
    for key, (first, end) in SPANS.items():
        for reader, frames in READERS.items():
            seen = [number_of(pixels) for pixels in frames(clips[key].path)]
            assert seen == list(range(first, end)), (key, reader)
        clip = probe(clips[key].path)
        assert clip.damage == []
        own, clock = clip.picture.clock, found.picture.clock
        times = [own.exact(tick) for tick in ticks_of(clips[key].path, clip)]
        tick = Fraction(1, own.den)
        for at, here in zip(times, ticks[first:end], strict=True):
            assert abs(at - clock.exact(here) + clock.exact(ticks[first])) < tick
        assert clips[key].readers == "all"


@pytest.mark.parametrize("name", SMART)
def test_packets_are_copied_where_that_is_proven(
    film: Callable[[str], Rendered], tmp_path: Path, name: str
) -> None:
    truth = film(name)
    _, clips = cut(truth, tmp_path, "smart")
    assert {clip.mode for clip in clips.values()} == {"smart"}

    def payloads(path: Path) -> set[bytes]:
        with av.open(str(path)) as container:
            return {bytes(packet) for packet in container.demux(video=0) if packet.size}

    whole = payloads(clips["whole"].path)
    assert whole == payloads(truth.path)
    inner = payloads(clips["inner"].path)
    assert 40 <= len(inner & whole) < len(inner) == 78


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("turned", "turned"),
        ("fields", "fields"),
        ("hevc", "hevc"),
        ("vp9", "vp9"),
        ("open_groups", "no clean point inside the span"),
        ("no_keys", "no clean point inside the span"),
    ],
)
def test_what_is_not_proven_is_encoded_and_the_mode_says_why(
    film: Callable[[str], Rendered], tmp_path: Path, name: str, reason: str
) -> None:
    _, clips = cut(film(name), tmp_path, "smart")
    assert clips["inner"].mode == f"encode: {reason}"


@pytest.mark.parametrize("mode", ["smart", "encode", "copy"])
@pytest.mark.parametrize("name", ["b_frames", "edit_list", "late_sound"])
def test_sound_begins_within_5_ms_and_ends_within_1_ms(
    film: Callable[[str], Rendered], tmp_path: Path, name: str, mode: str
) -> None:
    truth = film(name)
    found, clips = cut(truth, tmp_path, mode)
    ticks = ticks_of(truth.path, found)
    for key, (first, _) in SPANS.items():
        clip, start = probe(clips[key].path), found.picture.clock.seconds(ticks[first])
        samples = np.concatenate(list(audio(clips[key].path, clip, rate=48_000)))
        heard = beeps_in(samples, 48_000)
        length = clips[key].seconds
        inside = [at - start for at in truth.beeps if -0.1 < at - start < length]
        for at in inside:
            if at < length - 0.1:
                assert min(abs(max(at, 0.0) - other) for other in heard) <= 0.005
        for at in heard:
            assert min(abs(max(other, 0.0) - at) for other in inside) <= 0.005
        sound = clip.sound[0]
        assert sound.clock.seconds(sound.end or 0) == pytest.approx(length, abs=0.001)


@pytest.mark.parametrize("mode", ["smart", "copy"])
def test_two_cuts_give_equal_bytes(
    film: Callable[[str], Rendered], tmp_path: Path, mode: str
) -> None:
    truth = film("vfr")
    runs = [cut(truth, tmp_path / run, mode)[1] for run in ("a", "b")]
    for key in SPANS:
        first, second = (run[key].path.read_bytes() for run in runs)
        assert first == second


@pytest.mark.parametrize("name", ["b_frames", "vfr", "edit_list", "turned", "hevc"])
def test_a_copy_shows_its_frames_to_readers_of_edit_lists(
    film: Callable[[str], Rendered], tmp_path: Path, name: str
) -> None:
    truth = film(name)
    _, clips = cut(truth, tmp_path, "copy")
    for key, (first, end) in SPANS.items():
        clip = clips[key]
        assert (clip.mode, clip.readers) == ("copy", "editlist")
        seen = [pixels for _, pixels in scan(clip.path, probe(clip.path))]
        upright = [np.rot90(pixels, -1) if name == "turned" else pixels for pixels in seen]
        assert [number_of(pixels) for pixels in upright] == list(range(first, end))


def test_damage_that_a_smart_cut_cannot_see_past_is_encoded(
    film: Callable[[str], Rendered], tmp_path: Path
) -> None:
    truth = film("b_frames")
    with av.open(str(truth.path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        at, size = packets[60].pos or 0, packets[60].size
    data = bytearray(truth.path.read_bytes())
    data[at : at + size] = b"\xff" * size  # lengths of units that reach behind the packet
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    found = probe(truth.path)
    spans = spans_of(found, truth.ticks, {"before": (0, 40), "around": (45, 100)})
    clips = CutClip(Settings(mode="smart")).cut(damaged, found, spans, tmp_path / "out")
    assert clips["before"].mode == "smart"
    assert clips["around"].mode == "encode: a unit is longer than its packet"


REAL = [
    "bbb_480p_30s.mp4",
    "bikes_street.mp4",
    "chrome_claymation_ad.mp4",
    "chromecast_for_bigger_escapes.mp4",
    "googlework_paris.mp4",
    "his_girl_friday_dialogue.mp4",
    "nasa_webb_two_streams.mp4",
    "w3c_keyboard_perspective.mp4",
    "w3c_rabbit_voiceover.mp4",
    "zh_cartoon_watermark.mp4",
]


def small(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    return cv2.resize(pixels, (48, 27), interpolation=cv2.INTER_AREA).astype(np.float32)


def alone(path: Path, found: Probe, folder: Path) -> Path:
    """The film with one picture: of several, readers choose each their own."""
    if sum(stream.kind == "video" for stream in found.streams) == 1:
        return path
    target = folder / "one_picture.mp4"
    with av.open(str(path)) as film, av.open(str(target), "w") as out:
        picture = film.streams[found.picture.index]
        copy = out.add_stream_from_template(picture)
        for packet in film.demux(picture):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    return target


@pytest.mark.parametrize("mode", ["smart", "encode"])
@pytest.mark.parametrize("name", REAL)
def test_labelled_films_are_cut_to_their_frames_in_every_reader(
    real_media: Path, tmp_path: Path, name: str, mode: str
) -> None:
    path = real_media / "videos" / name
    found = probe(path, count_frames=False)
    ticks = ticks_of(path, found)
    truth = json.loads(path.with_suffix(".cuts.json").read_text())
    chance = random.Random(name)
    first = chance.randrange(0, len(ticks) - 60)
    shots = [0, *truth["cuts"], len(ticks)]
    wanted = {"any": (first, first + 50), "shot": (shots[0], min(shots[1], 80))}
    cutter = CutClip(Settings.model_validate({"mode": mode, "preset": "superfast"}))
    clips = cutter.cut(path, found, spans_of(found, ticks, wanted), tmp_path)
    last = max(end for _, end in wanted.values())
    film = alone(path, found, tmp_path)
    for reader, frames in READERS.items():
        # Each reader is held against what it shows of the source: they differ in their colours.
        source = [small(pixels) for pixels in islice(frames(film), last)]
        for key, (begin, end) in wanted.items():
            seen = [small(pixels) for pixels in frames(clips[key].path)]
            assert len(seen) == end - begin, (key, reader)
            for place, pixels in enumerate(seen):
                apart = np.abs(pixels - source[begin + place]).mean()
                assert apart < 4, (key, reader, place)
