"""A clip holds exactly its span's frames, at their times, with its sound in step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipmill.schemas.clocks import Span
from clipmill.schemas.errors import Damaged
from clipmill.schemas.records import Probe
from clipmill.stages.clip.cut_clip import CutClip, Settings
from clipmill.stages.media.audio import audio
from clipmill.stages.media.frames import scan
from clipmill.stages.media.probe import probe
from tests.rendered import Rendered, beeps_in, number_of

Film = Callable[[str], Rendered]
ENCODE = CutClip(Settings(mode="encode"))  # smart cuts have tests of their own
SPANS = {"head": (0, 30), "middle": (41, 59), "tail": (70, 120), "one": (64, 65)}


def ticks_of(path: Path, found: Probe) -> list[int]:
    return [tick for tick, _ in scan(path, found, width=16, gray=True)]


def spans_of(found: Probe, ticks: list[int]) -> dict[str, Span]:
    ends = [*ticks, found.picture.end or 0]
    return {key: Span(found.picture.clock, ends[a], ends[b]) for key, (a, b) in SPANS.items()}


@pytest.mark.parametrize(
    "name",
    ["plain", "vfr", "vfr_mkv", "transport", "no_times", "raw_stream", "no_keys", "late_picture"],
)
def test_clips_hold_exactly_their_frames_at_their_times(
    film: Film, tmp_path: Path, name: str
) -> None:
    truth = film(name)
    found = probe(truth.path)
    ticks = ticks_of(truth.path, found)
    clips = ENCODE.cut(truth.path, found, spans_of(found, ticks), tmp_path)
    for key, (first, end) in SPANS.items():
        clip = probe(clips[key].path)
        assert clip.damage == []
        seen = list(scan(clips[key].path, clip))
        assert [number_of(pixels) for _, pixels in seen] == list(range(first, end))
        own, clock = clip.picture.clock, found.picture.clock
        times = [own.exact(tick) for tick, _ in seen]
        wanted = [clock.exact(tick) - clock.exact(ticks[first]) for tick in ticks[first:end]]
        assert times == wanted
        assert clips[key].frames == end - first


def test_sound_stays_in_step_with_the_picture(film: Film, tmp_path: Path) -> None:
    for name in ("plain", "late_sound", "late_picture"):
        truth = film(name)
        found = probe(truth.path)
        clock = found.picture.clock
        span = Span.of_seconds(1.5, 3.5, clock)
        clip = ENCODE.cut(truth.path, found, {name: span}, tmp_path)[name]
        first = next(tick for tick, _ in scan(truth.path, found, span, width=16))
        samples = np.concatenate(list(audio(clip.path, probe(clip.path))))
        wanted = [at - clock.seconds(first) for at in truth.beeps if 1.5 < at < 3.4]
        assert wanted
        assert beeps_in(samples, 16_000) == pytest.approx(wanted, abs=0.004)
        assert clip.seconds == pytest.approx(2.0, abs=0.05)
        assert len(samples) / 16_000 == pytest.approx(clip.seconds, abs=0.06)


def test_two_runs_give_equal_bytes(film: Film, tmp_path: Path) -> None:
    truth = film("vfr")
    found = probe(truth.path)
    spans = spans_of(found, ticks_of(truth.path, found))
    runs = [ENCODE.cut(truth.path, found, spans, tmp_path / run) for run in ("a", "b")]
    for key in SPANS:
        first, second = (run[key].path.read_bytes() for run in runs)
        assert first == second


def test_a_turned_film_becomes_an_upright_clip(film: Film, tmp_path: Path) -> None:
    truth = film("turned")
    found = probe(truth.path)
    span = Span(found.picture.clock, truth.ticks[10], truth.ticks[20])
    clip = CutClip().cut(truth.path, found, {"clip": span}, tmp_path)["clip"]
    read = probe(clip.path)
    assert (clip.width, clip.height, read.picture.rotation) == (128, 192, 0)
    pixels = next(scan(clip.path, read))[1]
    assert number_of(np.rot90(pixels, -1)) == 10


def test_odd_sizes_and_ten_bits_become_even_and_eight(film: Film, tmp_path: Path) -> None:
    truth = film("odd_10bit")
    found = probe(truth.path)
    clip = CutClip().cut(truth.path, found, {"clip": found.span}, tmp_path)["clip"]
    assert (clip.width, clip.height, clip.frames) == (194, 128, 120)
    assert probe(clip.path).picture.pix_fmt == "yuv420p"


def test_height_rate_sound_and_trim_follow_the_settings(film: Film, tmp_path: Path) -> None:
    truth = film("plain")
    found = probe(truth.path)
    cutter = CutClip(Settings(height=64, fps=10, audio=False, trim=0.25))
    span = Span(found.picture.clock, truth.ticks[0], truth.ticks[80])
    clip = cutter.cut(truth.path, found, {"clip": span}, tmp_path)["clip"]
    assert (clip.width, clip.height, clip.audio) == (96, 64, False)
    assert clip.frames == 16
    seen = [number_of(pixels) for _, pixels in scan(clip.path, probe(clip.path))]
    assert seen[0] == 20
    assert 56 <= seen[-1] < 60


def test_a_span_in_which_no_frame_starts_shows_the_one_on_screen(
    film: Film, tmp_path: Path
) -> None:
    truth = film("plain")
    found = probe(truth.path)
    span = Span(found.picture.clock, truth.ticks[40] + 100, truth.ticks[41] - 100)
    clip = CutClip().cut(truth.path, found, {"clip": span}, tmp_path)["clip"]
    assert [number_of(pixels) for _, pixels in scan(clip.path, probe(clip.path))] == [40]


@pytest.mark.parametrize("name", ["it's 100% a %03d [clip].mp4", "-i.mp4", "a:b,c;d=e.mp4"])
def test_hostile_file_names_are_only_names(film: Film, tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_bytes(film("plain").path.read_bytes())
    found = probe(source)
    span = Span(found.picture.clock, 0, film("plain").ticks[10])
    clip = CutClip().cut(source, found, {"clip": span}, tmp_path / "it's %d out")["clip"]
    assert clip.frames == 10


def test_a_clip_that_is_not_the_source_is_refused(film: Film, tmp_path: Path) -> None:
    truth = film("plain")
    found = probe(truth.path)
    # An ffmpeg that answers every order with the same wrong film.
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        "#!/bin/sh\n"
        'for word; do case "$word" in file:*/clip.mp4) out="${word#file:}";; esac; done\n'
        f'cp "{film("vfr").path}" "$out"\n'
    )
    fake.chmod(0o755)
    span = Span(found.picture.clock, truth.ticks[0], truth.ticks[30])
    cutter = CutClip(Settings(mode="encode", ffmpeg=str(fake)))
    with pytest.raises(Damaged, match="120 frames instead of 30"):
        cutter.cut(truth.path, found, {"clip": span}, tmp_path)
    with pytest.raises(Damaged, match=r"frame \d+ is|differs"):
        cutter.cut(truth.path, found, {"clip": found.span}, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["cursed_vfr_3026x1386.mp4", "corrupted_h264.mp4", "vfr_29frames.mov", "broken_sps_fate.mov"],
)
def test_odd_and_damaged_real_files_are_cut_without_losing_a_frame(
    real_media: Path, tmp_path: Path, name: str
) -> None:
    path = real_media / "broken" / name
    found = probe(path)
    whole = found.span
    half = (whole.start + whole.end) // 2
    spans = {"a": Span(whole.clock, whole.start, half), "b": Span(whole.clock, half, whole.end)}
    cutter = CutClip(Settings(mode="encode", height=128, preset="ultrafast"))
    clips = cutter.cut(path, found, spans, tmp_path)
    assert clips["a"].frames + clips["b"].frames == found.decoded_frames


def test_the_fingerprint_names_what_decides_the_bytes() -> None:
    assert CutClip().fingerprint() == CutClip(Settings()).fingerprint()
    assert CutClip().fingerprint() != CutClip(Settings(crf=20)).fingerprint()
