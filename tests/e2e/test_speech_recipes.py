"""Every speech recipe from file to shards on rendered input, models replaced at the edge only.

Recognition is real (subtitle files, or PocketSphinx where the recipe must listen); teachers,
encoders and language models read prompts, pixels and words of the rendered world.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speech"))

from arms import Reader
from narrated import LAGGING, Eye, rendered

from clipmill.pipeline.engine.run import run
from clipmill.pipeline.output.verify import verify
from clipmill.pipeline.recipe.recipe import load_recipe
from clipmill.pipeline.store.store import Store
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.compose.speech import say
from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.ground import ground_text, verify_span
from clipmill.stages.models import teacher_stage
from clipmill.stages.models.language_model import open_language_model
from clipmill.stages.models.teacher import Reply, Request
from clipmill.stages.models.teacher_settings import TeacherSettings
from clipmill.stages.score import score_text

pytestmark = pytest.mark.timeout(240)
RATE = 16_000


class Asker(Reader):
    """A language model at the edge that reads events out of narration, and rewrites every text into
    the same request.
    """

    async def ask(self, requests: Sequence[Request]) -> list[Reply]:
        rewrites = [r for r in requests if r.schema and "text" in r.schema["properties"]]
        events = await super().ask([r for r in requests if r not in rewrites])
        said = json.dumps({"text": "Tell me what is going on."})
        return [*events, *(Reply(r.id, said) for r in rewrites)]


class Flat:
    """A language model at the edge that finds every word equally hard."""

    identity = ("flat", "1")

    def setup(self) -> None: ...

    def close(self) -> None: ...

    def losses(self, texts: Sequence[tuple[str, str]]) -> list[float | None]:
        return [3.0 for _ in texts]


@pytest.fixture(autouse=True)
def _edge(monkeypatch: pytest.MonkeyPatch) -> None:
    Reader.settings = TeacherSettings()  # type: ignore[attr-defined]
    monkeypatch.setattr(teacher_stage, "open_teacher", lambda _: Asker())
    monkeypatch.setattr(
        ground_text.GroundText,
        "setup",
        lambda stage: vars(stage).update(encoder=Eye("colour", "backdrop")),
    )
    monkeypatch.setattr(
        verify_span.VerifySpan,
        "setup",
        lambda stage: vars(stage).update(encoder=Eye("colour", "shape")),
    )
    monkeypatch.setattr(
        score_text,
        "open_language_model",
        lambda named: open_language_model(named) if named.model == "embedded" else Flat(),
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    return rendered(LAGGING.model_copy(update={"count": 2}), tmp_path_factory.mktemp("in") / "v")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> RenderedVideo:
    """A dozen seconds, everything said when it is seen: what a recogniser hears in a moment."""
    plan = LAGGING.model_copy(
        update={"count": 1, "min_scenes": 3, "max_scenes": 3, "min_lag": 0, "max_lag": 0}
    )
    [video] = rendered(plan, tmp_path_factory.mktemp("short") / "v")
    return video


def packed(
    recipe: str, source: Path, out: Path, *sets: str, states: frozenset[str] = frozenset({"packed"})
) -> list[dict[str, Any]]:
    """Run a recipe and read every clip's facts and text back from the shards."""
    summary = run(load_recipe(recipe, sets), str(source), str(out), engine="inline")
    assert set(summary.inputs) == states, summary
    assert verify(Store.open(str(out))).ok
    members: dict[str, dict[str, Any]] = {}
    for shard in sorted((out / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar.getmembers():
                key, _, form = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                data = file.read()
                if form == "json":
                    members.setdefault(key, {}).update(json.loads(data))
                elif form == "txt":
                    members.setdefault(key, {})["said"] = data.decode()
                else:
                    members.setdefault(key, {})[form] = len(data)
    return list(members.values())


SILENT = "stages.transcribe.engine=subtitles"


def test_howtocaption_packs_captions_at_what_they_show(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed(
        "speech/howtocaption", videos[0].path.parent, tmp_path, SILENT,
        "stages.ground_text.span=grow", "stages.ground_text.window_s=2",
        "stages.sample_frames.fps=2", "stages.sample_frames.count=16",
    )  # fmt: skip
    truths = {video.truth.name: video.truth for video in videos}
    assert len(clips) >= 5
    for clip in clips:
        start, end = extent(clip)
        names = {
            f"{scene.things[0].colour} {scene.things[0].shape}"
            for scene in truths[Path(clip["video"]["id"]).stem].scenes
            if min(end, scene.end_s) - max(start, scene.start_s) > 1
        }
        assert any(name in clip["said"] for name in names), (clip["said"], names)


@pytest.mark.models
def test_howtocaption_with_the_models_that_ship_tells_what_is_seen_where_it_is_seen(
    videos: list[RenderedVideo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stands at the edge: teacher and encoder read what the recipe gives them."""
    monkeypatch.undo()
    clips = packed(
        "speech/howtocaption@embedded", videos[0].path.parent, tmp_path, SILENT,
        "stages.ground_text.span=grow", "stages.ground_text.window_s=2",  # scenes last some seconds
        "stages.sample_frames.fps=2", "stages.sample_frames.count=16",
    )  # fmt: skip
    right = [clip["said"] for clip in clips if _told_of(clip, videos)]
    told = [line for video in videos for line in video.truth.narration if line.scene is not None]
    print(f"{len(right)} of {len(clips)} captions right, {len(told)} sentences about what is seen")
    assert len(clips) >= 0.4 * len(told), "the better half is kept"
    assert len(right) >= 0.8 * len(clips)
    late = [
        abs(line.start_s - video.truth.scenes[line.scene].start_s)
        for video in videos for line in video.truth.narration if line.scene is not None
    ]  # fmt: skip
    assert np.mean(late) > 2, "at the times of the speech they would be wrong"


def _told_of(clip: dict[str, Any], videos: list[RenderedVideo]) -> bool:
    """Whether what a clip's caption names, it shows for most of its time."""
    [truth] = [v.truth for v in videos if v.truth.name == Path(clip["video"]["id"]).stem]
    start, end = extent(clip)
    return any(
        f"{scene.things[0].colour} {scene.things[0].shape}" in clip["said"]
        and min(end, scene.end_s) - max(start, scene.start_s) > 0.5 * (end - start)
        for scene in truth.scenes
    )


def extent(clip: dict[str, Any]) -> tuple[float, float]:
    return float(clip["span"]["start_s"]), float(clip["span"]["end_s"])


def test_howtostep_lets_steps_compete_for_the_whole_video(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    clips = packed("speech/howtostep", videos[0].path.parent, tmp_path, SILENT)
    assert len(clips) >= 4 and all("mp4" in clip for clip in clips)


def test_hdvila_cuts_where_sentences_are_said_though_cues_end_anywhere(
    short: RenderedVideo, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    path = source / "one.mp4"
    path.write_bytes(short.path.read_bytes())
    # Captions as people write them: five words on a line, whatever sentence they belong to, shown
    # a little longer than they are said.
    lines = short.truth.narration
    words = [
        (word.text + "." * (word is line.words[-1]), word) for line in lines for word in line.words
    ]
    cues = [words[n : n + 5] for n in range(0, len(words), 5)]
    path.with_suffix(".srt").write_text(
        "\n".join(
            f"{n}\n{stamp(cue[0][1].start_s - 0.2)} --> {stamp(cue[-1][1].end_s + 0.3)}\n"
            + " ".join(text for text, _ in cue) + "\n"
            for n, cue in enumerate(cues, 1)
        )
    )  # fmt: skip
    assert len(cues) > len(lines), "some line must hold words of two sentences"
    clips = packed("speech/hdvila@embedded", source, tmp_path / "out")
    clips.sort(key=lambda clip: extent(clip)[0])
    assert [c["said"].rstrip(".").casefold() for c in clips] == [line.text for line in lines]
    borders = [
        abs(found - told)
        for clip, line in zip(clips, lines, strict=True)
        for found, told in zip(extent(clip), (line.start_s, line.end_s), strict=True)
    ]
    assert np.mean(np.array(borders) <= 0.2) >= 0.95, borders
    assert all(clip["scores"]["text_confidence"] > 0 for clip in clips)


def stamp(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"


# The encoder that ships knows no faces, nor what else the recipe's sentences speak of.
NO_FACES = (
    "stages.classify.classes.talking_head=[a person talking]",
    f"stages.classify.classes.other={[f'{c} {s}' for c in COLOURS for s in SHAPES]}",
)


@pytest.mark.models
def test_livecc_drops_the_films_of_one_class_and_keeps_the_others(tmp_path: Path) -> None:
    """Films of red things stand for those of talking heads."""
    plan = LAGGING.model_copy(
        update={"count": 8, "seed": 6, "min_scenes": 1, "max_scenes": 1, "min_lag": 0, "max_lag": 0,
                "fillers": 0, "moving_camera": 0}
    )  # fmt: skip
    films = rendered(plan, tmp_path / "v")
    of = {colour: [f"a {colour} {shape}" for shape in SHAPES] for colour in COLOURS}
    red = {video.path.name for video in films if video.truth.scenes[0].things[0].colour == "red"}
    assert 1 <= len(red) <= 4
    clips = packed(
        "speech/livecc@embedded", tmp_path / "v", tmp_path / "out",
        "stages.split_transcript.min_s=1", "profiles.live.text_rate={max: 9}",
        f"stages.classify.classes.talking_head={of['red']}",
        f"stages.classify.classes.other={[t for c in COLOURS if c != 'red' for t in of[c]]}",
        states=frozenset({"packed", "dropped"}),
    )  # fmt: skip
    assert {clip["video"]["id"] for clip in clips} == {video.path.name for video in films} - red


@pytest.mark.models
def test_livecc_packs_documents_of_words_and_frames(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    shorter = "stages.split_transcript.min_s=5"
    clips = packed("speech/livecc@embedded", videos[0].path.parent, tmp_path, shorter, *NO_FACES)
    words = [
        word for clip in clips for slot in json.loads(clip["said"])["content"]
        for *_, word in slot["words"] or []
    ]  # fmt: skip
    told = [w.text for v in videos for line in v.truth.narration for w in line.words]
    assert len(words) >= 0.5 * len(told) and set(words) <= set(told)


def test_livecc_without_weights_drops_speakers_and_keeps_what_they_speak_of(
    real_media: Path, tmp_path: Path
) -> None:
    """Two people filmed while they speak, and a film that a voice describes."""
    pytest.importorskip("skimage", reason="the [faces] extra is not installed")
    source = tmp_path / "in"
    source.mkdir()
    for name in ("grid_swwp2s.mpg", "grid_bbaf2n.mpg", "w3c_rabbit_voiceover.mp4"):
        path = source / name
        path.write_bytes((real_media / "videos" / name).read_bytes())
        path.with_suffix(".vtt").write_text(
            "WEBVTT\n\n00:00.200 --> 00:02.800\nplease put the white one on the green one now\n"
        )
    clips = packed(
        "speech/livecc_frontal", source, tmp_path / "out", "stages.split_transcript.min_s=1",
        states=frozenset({"packed", "dropped"}),
    )  # fmt: skip
    assert {clip["video"]["id"] for clip in clips} == {"w3c_rabbit_voiceover.mp4"}


def test_livecc_sft_puts_a_request_in_front(short: RenderedVideo, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "one.mp4").write_bytes(short.path.read_bytes())
    (source / "one.vtt").write_text(short.path.with_suffix(".vtt").read_text())
    clips = packed("speech/livecc_sft", source, tmp_path / "out", SILENT,
                   "stages.split_transcript.min_s=5")  # fmt: skip
    assert clips
    for clip in clips:
        document = json.loads(clip["said"])
        assert document["request"] == "Tell me what is going on." and document["previous"] == ""


def test_narrated_actions_packs_published_spans_and_drops_what_is_not_in_the_clip(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    published: dict[str, list[list[object]]] = {}
    wanted = []
    for number, video in enumerate(videos):
        name = f"1p0_{number}mini_1.mp4"  # as the authors call their clips
        (source / name).write_bytes(video.path.read_bytes())
        actions = [
            [f"see the {s.things[0].colour} {s.things[0].shape}", s.start_s, s.end_s]
            for s in video.truth.scenes
        ]
        lasts = video.truth.scenes[-1].end_s
        wanted += [(name, *action) for action in actions]
        published[name] = [
            *actions,
            ["never shown", "not visible"],
            ["begins in the next clip", lasts + 1, lasts + 3],
            ["goes on in the next clip", lasts - 2, lasts + 1],
        ]
    file = tmp_path / "published.json"
    file.write_text(json.dumps(published))
    clips = packed(
        "speech/narrated_actions",
        source,
        tmp_path / "out",
        f"stages.import_annotations.file={file}",
    )
    found = sorted((clip["video"]["id"], clip["said"], *extent(clip)) for clip in clips)
    assert [row[:2] for row in found] == [row[:2] for row in sorted(map(tuple, wanted))]
    for row, known in zip(found, sorted(map(tuple, wanted)), strict=True):
        assert abs(row[2] - known[2]) <= 0.13 and abs(row[3] - known[3]) <= 0.13  # a frame of 8 fps


LATE_S = 3.2
TOLD = [
    (4.0, ["the red circle", "moves to the left", "over the grass"]),
    (13.0, ["the blue star", "goes up", "in the sky"]),
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with its own sound on track 0; on track 1 the same, late, with a narrator on top."""
    folder = tmp_path_factory.mktemp("described")
    rng = np.random.default_rng(2)
    length = 20 * RATE
    film = rng.normal(0, 20, length)
    at = 0.0
    while (at := at + float(rng.exponential(0.8))) < 19:
        tone = np.sin(2 * np.pi * rng.uniform(200, 4000) * np.arange(RATE // 5) / RATE)
        film[int(at * RATE) : int(at * RATE) + RATE // 5] += 400 * tone[: length - int(at * RATE)]
    voiced = film.copy()
    for second, phrases in TOLD:
        voice = say(phrases).pcm
        voiced[int(second * RATE) : int(second * RATE) + len(voice)] += voice
    late = np.concatenate([np.zeros(round(LATE_S * RATE)), voiced])
    for name, wave in (("film", film), ("told", late)):
        np.clip(wave, -32768, 32767).astype("<i2").tofile(folder / f"{name}.raw")
    raw = ["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i"]
    (folder / "in").mkdir()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i",
               "testsrc=size=64x48:rate=10:duration=24", *raw, str(folder / "film.raw"), *raw,
               str(folder / "told.raw"), "-map", "0:v", "-map", "1:a", "-map", "2:a",
               "-c:v", "libx264", "-c:a", "aac", "-b:a", "96k",
               str(folder / "in" / "film.mp4")]  # fmt: skip
    subprocess.run(command, check=True)
    return folder / "in"


@pytest.mark.parametrize("recipe", ["speech/queryd@embedded", "speech/mad@embedded"])
def test_descriptions_on_a_late_track_are_packed_at_the_times_of_the_picture(
    recipe: str, described: Path, tmp_path: Path
) -> None:
    clips = packed(recipe, described, tmp_path)
    starts = sorted(extent(clip)[0] for clip in clips)
    for second, _ in TOLD:
        assert min(abs(second + 0.06 - start) for start in starts) <= 0.25, starts
    words = " ".join(clip["said"].casefold() for clip in clips)
    assert sum(word in words for word in ("red", "grass", "blue", "star")) >= 3
