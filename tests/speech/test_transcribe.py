"""transcribe on real videos: which source is taken, and what missing sound gives."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pysubs2
import pytest
from heard import errors, words_of
from pydantic import ValidationError

from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.errors import OverLimit, RecipeError, Unreadable
from clipmill.schemas.records import Part, Transcript, Video
from clipmill.stages.asr_text.transcribe import Settings, Transcribe
from clipmill.stages.compose.speech import say
from clipmill.stages.media.probe import probe

pytest.importorskip("pocketsphinx", reason="the [speech] extra is not installed")


def transcripts(path: Path, side: str | None = None, **settings: Any) -> list[Transcript]:
    stage = Transcribe(Settings(**settings))
    stage.setup()
    video = Video("v", str(path), probe=probe(path, count_frames=False))
    if side is not None:
        video.side_files["subtitles"] = side
    stage.process(Part(video))
    return video.transcripts


def said(transcript: Transcript) -> str:
    return " ".join(utterance.text for utterance in transcript.utterances)


def test_an_embedded_track_reads_as_the_file_exported_from_it(real_media: Path) -> None:
    exported = pysubs2.load(str(real_media / "subtitles" / "nasa_webb.srt"))
    [found] = transcripts(real_media / "videos" / "nasa_webb_two_streams.mp4")
    assert (found.kind, found.language, found.track) == ("subtitle", "en", None)
    assert found.clock == MILLISECONDS
    assert [(u.start, u.end, u.text) for u in found.utterances] == [
        (line.start, min(line.end, 13_000), line.plaintext) for line in exported
    ]  # the picture ends after 13 s, the last cue does not


def test_a_recogniser_hears_each_track_if_asked_to(real_media: Path, truth: dict[str, Any]) -> None:
    # Track 0 is sampled at 8 kHz, track 1 at 16 kHz: the same narration.
    name = "videos/nasa_webb_two_streams.mp4"
    found = transcripts(real_media / name, engine="pocketsphinx", track="all")
    assert [t.track for t in found] == [0, 1]
    wanted = words_of(truth[name]["text"])
    for transcript in found:
        assert errors(wanted, words_of(said(transcript))) / len(wanted) < 0.5
        words = [word for utterance in transcript.utterances for word in utterance.words]
        assert words == sorted(words, key=lambda word: word.start)
        assert words[0].start >= 0 and words[-1].end <= 13_200  # the sound ends at 13.06 s
        assert transcript.author.model == "pocketsphinx/en-us"


@pytest.mark.parametrize(
    "name",
    [
        "videos/bikes_street.mp4",  # no sound
        "videos/w3c_rabbit_silent.mp4",  # a silent track
        "videos/bbb_480p_30s.mp4",  # 5.1 sound, nobody speaks
        "broken/failing_audio.mp4",  # sound that fails near its end
    ],
)
def test_a_video_without_speech_has_no_transcript_and_no_error(name: str, real_media: Path) -> None:
    assert transcripts(real_media / name) == []


FORMS = {
    "telephone": ["-ar", "8000", "-c:a", "pcm_s16le"],
    "voice in the centre of six channels": ["-af", "pan=5.1|FC=c0", "-ar", "48000", "-c:a", "aac"],
    "clipped": ["-af", "volume=14dB:precision=fixed", "-c:a", "pcm_s16le"],
    "very quiet": ["-af", "volume=-30dB", "-c:a", "pcm_s16le"],
}


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody says what SAID is, as raw sound with half a second of silence around it."""
    path = tmp_path_factory.mktemp("voice") / "voice.raw"
    quiet = np.zeros(8000, np.int16)
    np.concatenate([quiet, say(SAID).pcm, quiet]).astype("<i2").tofile(path)
    return path


SAID = ["the red circle", "moves to the left", "over the grass"]


def film(voice: Path, form: list[str], folder: Path) -> Path:
    path = folder / "film.mkv"
    picture = ["-f", "lavfi", "-i", "color=size=32x32:rate=5:duration=4"]
    sound = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", str(voice)]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    subprocess.run([*program, *picture, *sound, "-c:v", "libx264", *form, str(path)], check=True)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_sound_of_any_form_is_heard(form: str, voice: Path, tmp_path: Path) -> None:
    [found] = transcripts(film(voice, FORMS[form], tmp_path), engine="pocketsphinx")
    wanted = words_of(" ".join(SAID))
    # Cut off at a fifth of its height a voice loses words, but it is a voice all the same.
    most = len(wanted) // 2 if form == "clipped" else 2
    assert errors(wanted, words_of(said(found))) <= most, said(found)
    assert abs(found.utterances[0].start - 500) <= 300


def test_a_track_without_any_sound_in_it_has_no_transcript(voice: Path, tmp_path: Path) -> None:
    nothing = ["-af", "atrim=end=0", "-c:a", "pcm_s16le"]
    assert transcripts(film(voice, nothing, tmp_path), engine="pocketsphinx") == []


def test_a_track_that_is_not_there_gives_no_transcript(real_media: Path) -> None:
    path = real_media / "videos" / "grid_swwp2s.mpg"
    assert transcripts(path, engine="pocketsphinx", track=3) == []


@pytest.fixture
def friday(real_media: Path, tmp_path: Path) -> Path:
    """A video with dialogue in a folder of its own."""
    return Path(shutil.copy(real_media / "videos" / "his_girl_friday_dialogue.mp4", tmp_path))


def test_a_file_beside_the_video_is_taken_before_listening(
    friday: Path, real_media: Path, truth: dict[str, Any]
) -> None:
    shutil.copy(real_media / "subtitles" / "friday.vtt", friday.with_suffix(".en.vtt"))
    [found] = transcripts(friday)
    assert words_of(said(found)) == words_of(truth["videos/his_girl_friday_dialogue.mp4"]["text"])
    assert (found.kind, found.language, found.author.prompt) == ("subtitle", "en", "vtt")


def test_the_wanted_language_is_taken_and_others_are_passed_over(friday: Path) -> None:
    cue = "1\n00:00:00,000 --> 00:00:02,000\n{}\n"
    for code, text in (("de", "Hallo"), ("en-US", "Hello"), ("fr", "Bonjour")):
        friday.with_suffix(f".{code}.srt").write_text(cue.format(text))
    friday.with_name(friday.stem + "_other.srt").write_text(cue.format("someone else's"))
    assert said(transcripts(friday, engine="subtitles", language="en")[0]) == "Hello"
    assert said(transcripts(friday, engine="subtitles", language="fr")[0]) == "Bonjour"
    assert transcripts(friday, engine="subtitles", language="it") == []
    friday.with_suffix(".srt").write_text(cue.format("plain"))
    assert said(transcripts(friday, engine="subtitles")[0]) == "plain"


def test_cues_beyond_the_picture_are_cut_off_and_sounds_left_out(friday: Path) -> None:
    side = friday.with_name("captions.srt")
    side.write_text(
        "1\n00:00:00,000 --> 00:00:01,000\n[music]\n\n"
        "2\n00:00:05,000 --> 00:01:00,000\nHello\n\n"
        "3\n00:01:00,000 --> 00:01:01,000\nanother film\n"
    )
    [found] = transcripts(friday, str(side), engine="subtitles")
    assert [(u.start, u.text) for u in found.utterances] == [(5000, "Hello")]
    assert 6000 <= found.utterances[0].end <= 6200
    [whole] = transcripts(friday, str(side), engine="subtitles", keep_sounds=True)
    assert said(whole) == "[music] Hello"


def test_a_subtitle_file_that_says_nothing_leaves_the_word_to_the_sound(
    real_media: Path, tmp_path: Path
) -> None:
    video = Path(shutil.copy(real_media / "videos" / "grid_swwp2s.mpg", tmp_path))
    video.with_suffix(".srt").write_bytes(b"\x00\xff" * 500)
    [found] = transcripts(video)
    assert found.kind == "speech"
    assert transcripts(video, engine="subtitles") == []


def test_a_subtitle_file_the_input_names_must_exist_and_be_of_a_sane_size(friday: Path) -> None:
    with pytest.raises(Unreadable, match="no such file"):
        transcripts(friday, str(friday.with_name("gone.srt")), engine="subtitles")
    huge = friday.with_name("huge.srt")
    with huge.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(OverLimit, match="100 MB"):
        transcripts(friday, str(huge), engine="subtitles")


def test_settings_decide_what_must_be_installed_and_what_a_result_depends_on(
    tmp_path: Path,
) -> None:
    assert Transcribe(Settings(engine="subtitles")).requires() == {}
    assert "pocketsphinx" in Transcribe(Settings()).requires()
    one, two = tmp_path / "a" / "tiny", tmp_path / "b" / "tiny"
    for folder in (one, two):
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"weights")
    stage = Transcribe(Settings(model=str(one)))
    assert "pocketsphinx" not in stage.requires()
    elsewhere = Transcribe(Settings(model=str(two), device="cpu"))
    assert elsewhere.fingerprint() == stage.fingerprint()
    (two / "model.bin").write_bytes(b"trained")
    assert elsewhere.fingerprint() != stage.fingerprint()
    assert Settings().model == ""
    (two / "model.bin").write_bytes(b"weights")
    aligned = [
        Transcribe(Settings(engine="whisperx", model=str(one), align_model=str(folder)))
        for folder in (one, two)
    ]
    assert aligned[0].requires()["whisperx"] == "whisperx"  # an extra of its own
    assert aligned[0].fingerprint() == aligned[1].fingerprint() != stage.fingerprint()
    (two / "model.bin").write_bytes(b"trained")
    assert aligned[0].fingerprint() != aligned[1].fingerprint()


def test_a_language_the_recogniser_lacks_is_refused_before_any_video() -> None:
    with pytest.raises(RecipeError, match="English only"):
        Transcribe(Settings(language="fr")).setup()
    Transcribe(Settings(language="fr", engine="subtitles")).setup()


def test_a_language_for_each_stretch_is_refused_where_it_would_be_ignored() -> None:
    for ignored in ({"engine": "whisperx"}, {"engine": "pocketsphinx"}, {"language": "en"}):
        with pytest.raises(ValidationError, match="languages: each"):
            Settings(languages="each", **ignored)  # type: ignore[arg-type]
    assert Settings(model="large-v3", languages="each").languages == "each"


def test_without_a_probe_the_recipe_is_told_what_to_add() -> None:
    with pytest.raises(RecipeError, match="no probe") as refused:
        Transcribe(Settings(engine="subtitles")).process(Part(Video("v", "v.mp4")))
    assert "probe_media" in str(refused.value)
