"""Clips cut by speech: the bars on rendered speech, on planted faults, on real captions."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from heard import sound
from narrated import LAGGING, part_of, rendered, vtt
from tiny_language_model import STOCK, sentence, write_tiny_language_model

from clipmill.pipeline.recipe.recipe import Recipe, load_recipe
from clipmill.schemas.clocks import MILLISECONDS
from clipmill.schemas.records import Author, Part, Segment, Transcript, Utterance, Video, Word
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.asr_text.subtitle_files import parse
from clipmill.stages.asr_text.transcribe import Settings as Speech
from clipmill.stages.asr_text.transcribe import Transcribe
from clipmill.stages.compose.render_synthetic import RenderedVideo
from clipmill.stages.compose.world import COLOURS, SHAPES
from clipmill.stages.interleave.build_document import BuildDocument
from clipmill.stages.interleave.build_document import Settings as Documents
from clipmill.stages.media.probe import probe
from clipmill.stages.models.recognizer import SpeechRecognizer
from clipmill.stages.score.score_text import ScoreText
from clipmill.stages.score.score_text import Settings as Scores
from clipmill.stages.split.split_transcript import Settings as Splits
from clipmill.stages.split.split_transcript import SplitTranscript


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedVideo]:
    plan = LAGGING.model_copy(update={"count": 3, "seed": 9, "width": 64, "height": 48})
    return rendered(plan, tmp_path_factory.mktemp("clips") / "v")


def clips(part: Part, *stages: object) -> list[Segment]:
    for stage in stages:
        stage.setup()  # type: ignore[attr-defined]
        stage.process(part)  # type: ignore[attr-defined]
    return part.video.layer("speech")


def near(truth: list[tuple[float, float]], found: list[Segment]) -> list[bool]:
    """Per planted border whether a clip has it within 0.2 s."""
    starts = np.array([segment.span.start_s for segment in found])
    ends = np.array([segment.span.end_s for segment in found])
    return [
        bool(np.abs(borders - at).min() <= 0.2)
        for line in truth
        for borders, at in zip((starts, ends), line, strict=True)
    ]


def test_clips_have_the_borders_of_what_a_recogniser_heard(
    videos: list[RenderedVideo], pocketsphinx: SpeechRecognizer
) -> None:
    video = min(videos, key=lambda video: video.truth.seconds)
    part = part_of(video)
    part.video.transcripts.append(heard_in(video.path, pocketsphinx))
    found = clips(part, RestoreSentences(Sentences(pause_s=0.3)), SplitTranscript(Splits()))
    lines = [(line.start_s, line.end_s) for line in video.truth.narration]
    right = near(lines, found)
    print("borders within 0.2 s:", np.mean(right), len(right))
    assert len(right) >= 10 and np.mean(right) >= 0.95
    assert len(found) <= 1.3 * len(lines), "no crumbs"


def test_clips_have_the_borders_of_the_sentences_said(videos: list[RenderedVideo]) -> None:
    """The family's bar, with words timed as a recogniser without errors would."""
    right: list[bool] = []
    for video in videos:
        found = clips(
            part_of(video),
            Transcribe(Speech(engine="subtitles")),
            RestoreSentences(Sentences(pause_s=0.3)),
            SplitTranscript(Splits()),
        )
        assert len(found) == len(video.truth.narration)
        right += near([(line.start_s, line.end_s) for line in video.truth.narration], found)
    assert len(right) >= 30 and np.mean(right) >= 0.95


def test_planted_repetitions_are_all_removed_and_nothing_else(
    videos: list[RenderedVideo], tmp_path: Path
) -> None:
    for number, video in enumerate(videos):
        lines = video.truth.narration
        copy = Path(shutil.copy(video.path, tmp_path / f"{number}.mp4"))
        cues = ["WEBVTT\n"]
        for line in lines:
            cues.append(vtt([line]).split("\n", 2)[2])
            # Said again at once, as a stammer or a cue shown twice: a quarter of a second is free.
            again = [
                replace(word, start_s=line.end_s + 0.02 * n, end_s=line.end_s + 0.02 * n + 0.02)
                for n, word in enumerate(line.words)
            ]
            cues.append(vtt([replace(line, start_s=line.end_s, end_s=again[-1].end_s,
                                     words=again)]).split("\n", 2)[2])  # fmt: skip
        copy.with_suffix(".vtt").write_text("\n".join(cues))
        part = Part(Video("v", str(copy), probe=probe(copy)))
        clips(
            part, Transcribe(Speech(engine="subtitles")), RestoreSentences(Sentences(pause_s=0.3))
        )
        said = [s.texts_of("asr")[0].text.rstrip(".?").casefold() for s in part.video.segments]
        assert said == [line.text for line in lines]


PROSE = [
    f"{who} {what} {where} and we look at it"
    for who in ("the red star", "a small dog", "my old friend", "the last train", "that boat")
    for what in ("moves to the left", "goes up", "stands still", "is getting bigger", "turns")
    for where in ("over the water", "in the city", "near the house", "on the road", "in the sky")
]


def run_of(kind: str, seconds: float, rate: float, seed: int, told: list[str]) -> list[str]:
    """So many words of a kind: prose, gibberish nobody could say, or a stock phrase in a loop."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate)
    if kind == "gibberish":
        return [f"x{int(n)}q" for n in rng.integers(0, 10_000, count)]
    if kind == "loop":
        phrase = STOCK[seed % len(STOCK)].split()
        return list(itertools.islice(itertools.cycle([*phrase[2:], *phrase[:2]]), count))
    words = " ".join(told[int(n)] for n in rng.integers(0, len(told), 80)).split()
    return words[:count]


PLANTED = [
    ("good", "prose", 40, 2.5),
    ("good", "prose", 100, 1.5),
    ("good", "prose", 35, 3.8),
    ("too slow", "prose", 45, 0.6),
    ("too fast", "prose", 32, 5.0),
    ("too short", "prose", 20, 2.5),
    ("too hard", "gibberish", 40, 2.5),
    ("too easy", "loop", 40, 2.5),
    ("good", "prose", 60, 2.0),
    ("too easy", "loop", 70, 1.5),
    ("too hard", "gibberish", 31, 3.5),
    ("too easy", "loop", 35, 3.0),
]


def planted(told: list[str]) -> tuple[Part, dict[int, str]]:
    """A video of all planted runs, parted by silences of 3.5 s, and their fates by first ms.

    Prose is made of the sentences `told`.
    """
    words, at, fates = [], 1000.0, {}
    for number, (fate, kind, seconds, rate) in enumerate(PLANTED):
        fates[round(at)] = fate
        step = 1000 / rate
        for word in run_of(kind, seconds, rate, number, told):
            words.append(Word(word, round(at), round(at + min(step * 0.8, 450))))
            at += step
        at += 3500
    text = " ".join(word.text for word in words)
    said = [Utterance(text, 0, round(at), words)]
    video = Video("v", "v.mp4")
    video.transcripts = [Transcript(MILLISECONDS, Author("t"), "subtitle", "en", None, said)]
    return Part(video), fates


def reasons_of(recipe: Recipe, part: Part) -> dict[int, str | None]:
    """What the recipe's first decision says of every clip it makes, by first ms."""
    stages = {entry.name: entry.stage for entry in recipe.stages}
    found = clips(part, stages["split_transcript"], stages["score_text"])
    scores = sorted({name for segment in found for name in segment.scores})
    table = pa.table(
        {
            "video": ["v"] * len(found),
            "segment": [segment.id for segment in found],
            **{f"score_{name}": [s.scores.get(name) for s in found] for name in scores},
            "label_text_language": [s.labels["text_language"] for s in found],
        }
    )
    reasons = recipe.decide[0].decide(table)["reason"].to_pylist()
    return {s.span.start: reason for s, reason in zip(found, reasons, strict=True)}


FATES = {"good": None, "too slow": "text_rate < 1", "too fast": "text_rate > 4"}


@pytest.mark.models
def test_each_rule_of_the_live_profile_drops_exactly_what_breaks_it(tmp_path: Path) -> None:
    """The settings are those of the shipped recipe; the model alone is a smaller one."""
    model = write_tiny_language_model(tmp_path / "model")
    recipe = load_recipe("speech/livecc", [f"stages.score_text.language_model.model={model}"])
    rng = np.random.default_rng(11)  # other sentences than those it was trained with
    part, fates = planted([sentence(rng) for _ in range(300)])
    wanted = FATES | {"too hard": "text_loss > 6.5", "too easy": "text_loss < 1.5"}
    assert reasons_of(recipe, part) == {
        start: wanted[fate] for start, fate in fates.items() if fate != "too short"
    }
    losses = {s.span.start: s.scores["text_loss"] for s in part.video.layer("speech")}
    for fate in ("good", "too hard", "too easy"):
        found = [losses[start] for start, own in fates.items() if own == fate]
        print(f"{fate}: {min(found):.2f} to {max(found):.2f} nats per token")


@pytest.mark.models
def test_the_model_that_ships_tells_noise_from_speech_about_its_world() -> None:
    """Its losses have a band of their own; loops it finds as easy as speech: repetition tells."""
    recipe = load_recipe(
        "speech/livecc@embedded",
        [
            "stages.score_text.measures=[rate, language, repetition, loss]",
            "profiles.live.text_repetition={max: 0.9}",
        ],
    )
    told = [
        f"the {colour} {shape} {moves} {place}"
        for colour in COLOURS
        for shape in SHAPES
        for moves in ("moves to the left", "goes up", "stays still", "gets bigger")
        for place in ("over the grass", "in the sky", "in front of stripes")
    ]
    part, fates = planted(told)
    wanted = FATES | {"too hard": "text_loss > 8", "too easy": "text_repetition > 0.9"}
    assert reasons_of(recipe, part) == {
        start: wanted[fate] for start, fate in fates.items() if fate != "too short"
    }


def test_documents_of_rendered_speech_hold_every_word_at_its_time(
    videos: list[RenderedVideo],
) -> None:
    for video in videos:
        part = part_of(video)
        found = clips(
            part,
            Transcribe(Speech(engine="subtitles")),
            SplitTranscript(Splits(mode="gap_rate", max_gap_s=1.0)),
            BuildDocument(Documents()),
        )
        flat = []
        for segment in found:
            content = json.loads(segment.texts_of("document")[0].text)["content"]
            at = segment.span.start_s
            flat += [(at + s, w) for slot in content for s, _, w in slot["words"] or []]
        told = [(w.start_s, w.text) for line in video.truth.narration for w in line.words]
        assert [word for _, word in flat] == [word for _, word in told]
        assert max(abs(a - b) for (a, _), (b, _) in zip(flat, told, strict=True)) < 0.01


def test_wrong_subtitles_are_flagged_by_what_is_heard(
    real_media: Path, pocketsphinx: SpeechRecognizer
) -> None:
    """Captions of a real narrated video: the right ones, two words swapped, another film's."""
    listened = heard_in(real_media / "videos" / "w3c_keyboard_perspective.mp4", pocketsphinx)
    heard: dict[str, list[float]] = {}
    for name in ("w3c_keyboard_perspective", "w3c_keyboard_perspective.WRONG", "friday"):
        cues = parse((real_media / "subtitles" / f"{name}.vtt").read_bytes()).utterances
        written = Transcript(MILLISECONDS, Author("written"), "subtitle", "en", None, cues)
        video = Video("v", "v.mp4", transcripts=[written, listened])
        clips(Part(video), RestoreSentences(Sentences()))
        heard[name] = [s.scores["heard"] for s in video.layer("sentences")]
    right, swapped, other = heard.values()
    print("heard:", heard)
    assert np.mean(right) > 0.6 > 2 * np.mean(other)
    # "your computer because your mouse": only the sentence that was changed gives itself away.
    lower = [n for n, (a, b) in enumerate(zip(right, swapped, strict=True)) if b < a]
    assert len(lower) == 1


def heard_in(path: Path, recogniser: SpeechRecognizer) -> Transcript:
    found = recogniser.recognize([sound(path)], "en")
    return Transcript(MILLISECONDS, Author("heard"), "speech", "en", 0, found.utterances)


def test_an_hour_of_speech_costs_next_to_nothing_beside_its_recognition() -> None:
    """The bar: 5 ms of CPU per second of sound, for everything behind the recogniser."""
    rng = np.random.default_rng(0)
    words, at = [], 0
    while at < 3_600_000:
        word = PROSE[int(rng.integers(len(PROSE)))].split()[int(rng.integers(6))]
        words.append(Word(word, at, at + 300))
        at += int(rng.integers(320, 500)) + (900 if rng.random() < 0.08 else 0)
    utterances = [
        Utterance(" ".join(w.text for w in run), run[0].start, run[-1].end, run)
        for run in (words[n : n + 12] for n in range(0, len(words), 12))
    ]
    cues = [Utterance(u.text, u.start, u.end) for u in utterances]
    video = Video("v", "v.mp4")
    video.transcripts = [
        Transcript(MILLISECONDS, Author("written"), utterances=cues),
        Transcript(MILLISECONDS, Author("heard"), utterances=utterances),
    ]
    start = time.process_time()
    found = clips(
        Part(video),
        RestoreSentences(Sentences()),
        SplitTranscript(Splits(min_s=20, max_s=60)),
        ScoreText(Scores(layer="speech", measures=("length", "rate", "gap", "language"))),
        BuildDocument(Documents(by="heard")),
    )
    spent = time.process_time() - start
    print(f"{spent:.2f} s CPU for an hour, {len(words)} words")
    assert found[-1].span.end_s > 3500
    assert spent <= 0.005 * 3600
