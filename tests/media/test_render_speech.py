"""What is said in rendered videos, when, and whether a general recogniser can read it."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from clipmill.stages.compose.render_synthetic import RenderedVideo, Settings, render
from clipmill.stages.compose.truth import LineTruth
from clipmill.stages.media.audio import audio
from clipmill.stages.media.probe import probe

RATE = 16_000
PLAN = Settings(
    count=3,
    seed=5,
    width=64,
    height=48,
    fps=10,
    min_scenes=3,
    max_scenes=3,
    fillers=0.5,
    sounds=1.0,
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    return render(PLAN, tmp_path_factory.mktemp("speech"))


def sound(video: RenderedVideo) -> NDArray[np.float64]:
    return np.concatenate(list(audio(video.path, probe(video.path)))).astype(np.float64)


def loudness(wave: NDArray[np.float64], start_s: float, end_s: float) -> float:
    piece = wave[round(start_s * RATE) : round(end_s * RATE)]
    return float(np.sqrt((piece**2).mean()))


def test_sound_lasts_as_long_as_the_picture(videos: list[RenderedVideo]) -> None:
    for video in videos:
        assert abs(len(sound(video)) / RATE - video.truth.seconds) < 0.1


def test_every_word_is_heard_at_its_time_and_pauses_are_silent(
    videos: list[RenderedVideo],
) -> None:
    for video in videos:
        wave = sound(video)
        for line in video.truth.narration:
            for word in line.words:
                assert loudness(wave, word.start_s, word.end_s) > 300, word
        events = [(line.start_s, line.end_s) for line in video.truth.narration]
        events += [(event.start_s, event.end_s) for event in video.truth.sounds]
        free = 0.0
        for start, end in [*sorted(events), (video.truth.seconds, 0.0)]:
            # 0.1 s: the voice's own fade behind the last word.
            if start - free > 0.3:
                assert loudness(wave, free + 0.1, start - 0.06) < 30, (free, start)
            free = max(free, end)


def test_speech_starts_within_a_fiftieth_of_the_stated_time(videos: list[RenderedVideo]) -> None:
    for video in videos:
        wave = sound(video)
        for line in video.truth.narration:
            first = round((line.start_s - 0.15) * RATE)
            loud = np.flatnonzero(np.abs(wave[first : first + RATE]) > 150)
            assert abs((loud[0] + first) / RATE - line.start_s) < 0.06


def test_sound_events_are_what_they_are_called(videos: list[RenderedVideo]) -> None:
    heard = set()
    for video in videos:
        wave = sound(video)
        for event in video.truth.sounds:
            piece = wave[round(event.start_s * RATE) : round(event.end_s * RATE)]
            parts = [np.abs(np.fft.rfft(part, RATE)) for part in np.array_split(piece, 4)]
            tones = [int(part.argmax()) for part in parts]
            flat = [float(part.max() / part.mean()) for part in parts]
            if event.kind == "beep":
                assert all(abs(tone - 880) < 20 for tone in tones)
            elif event.kind == "chirp":
                assert tones[3] > tones[0] + 600
            else:
                assert max(flat) < 8
            heard.add(event.kind)
    assert len(heard) >= 2


def test_sentences_about_a_scene_name_what_it_shows(videos: list[RenderedVideo]) -> None:
    for video in videos:
        for line in video.truth.narration:
            if line.scene is not None:
                thing = video.truth.scenes[line.scene].things[0]
                assert f"the {thing.colour} {thing.shape}" in line.text
                start = video.truth.scenes[line.scene].start_s
                assert line.lag_s == pytest.approx(line.start_s - start)


@pytest.mark.parametrize("lag", [-1.5, 2.0])
def test_sentences_lag_as_asked_where_there_is_room(lag: float, tmp_path: Path) -> None:
    shifted = PLAN.model_copy(
        update={"count": 1, "min_lag": lag, "max_lag": lag, "fillers": 0.0, "min_seconds": 4.0}
    )
    (video,) = render(shifted, tmp_path)
    lags = [line.lag_s for line in video.truth.narration if line.scene != 0]
    assert lags
    assert median(lags) == pytest.approx(lag + 0.36, abs=0.1)


def test_a_general_recogniser_reads_the_narration(videos: list[RenderedVideo]) -> None:
    """Word error rate at most 15 %, median error of word times at most 0.1 s."""
    pocketsphinx = pytest.importorskip("pocketsphinx")
    decoder = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
    errors = words = 0
    away: list[float] = []
    wave = sound(videos[0]).astype(np.int16)
    for line in videos[0].truth.narration:
        start = round((line.start_s - 0.25) * RATE)
        decoder.start_utt()
        decoder.process_raw(
            wave[start : round((line.end_s + 0.25) * RATE)].tobytes(), full_utt=True
        )
        decoder.end_utt()
        heard = [
            (seg.word.split("(")[0], start / RATE + seg.start_frame / 100)
            for seg in decoder.seg()
            if seg.word[0] not in "<["
        ]
        missed, times = compare(line, heard)
        errors += missed
        words += len(line.words)
        away += times
    assert errors / words <= 0.15
    assert median(away) <= 0.1


def compare(line: LineTruth, heard: list[tuple[str, float]]) -> tuple[int, list[float]]:
    """Edit distance in words, and how far the starts of the agreeing words are apart."""
    from difflib import SequenceMatcher

    stated = [word.text for word in line.words]
    matcher = SequenceMatcher(None, stated, [word for word, _ in heard], autojunk=False)
    away, agreeing = [], 0
    for block in matcher.get_matching_blocks():
        agreeing += block.size
        away += [
            abs(line.words[block.a + k].start_s - heard[block.b + k][1]) for k in range(block.size)
        ]
    # An upper bound of the edit distance.
    return len(stated) + len(heard) - 2 * agreeing, away
