"""Questions that a programme asks and leaves time for, found from its word times alone."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from narrated import vtt

from clipmill.schemas.records import Part, Segment, Video
from clipmill.stages.asr_text.restore_sentences import RestoreSentences
from clipmill.stages.asr_text.restore_sentences import Settings as Sentences
from clipmill.stages.asr_text.transcribe import Settings as Speech
from clipmill.stages.asr_text.transcribe import Transcribe
from clipmill.stages.compose.truth import LineTruth, WordTruth
from clipmill.stages.media.probe import probe
from clipmill.stages.qa.speech_qa import Settings, SpeechQa
from clipmill.stages.split.split_transcript import Settings as Units
from clipmill.stages.split.split_transcript import SplitTranscript
from tests.rendered import render

STATEMENTS = (
    "We are walking through the deep forest now.",
    "The bridge over the river is broken.",
    "My backpack has a rope and a lamp.",
)
QUESTIONS = (
    ("Which animal is hiding behind the rock?", "The red fox."),
    ("How many stars do you see in the sky?", "Seven stars."),
    ("Do you see the bridge over the water?", "Right there."),
    ("What do we need to cross the river?", "A long rope."),
)
WORD_S, GAP_S, PAUSE_S = 0.3, 0.9, 3.0


@dataclass
class Asked:
    question: str
    answer: str
    start: float
    pause: tuple[float, float]


def programme(seed: int) -> tuple[list[LineTruth], list[Asked], float]:
    """Word times of a programme, and the questions in it that are left time for.

    Planted beside them: questions without a pause, statements with one, and a long answer.
    """
    lines: list[LineTruth] = []
    asked: list[Asked] = []
    at = 1.0

    def say(text: str, gap: float) -> tuple[float, float]:
        nonlocal at
        words = [
            WordTruth(word, at + k * WORD_S, at + (k + 0.9) * WORD_S)
            for k, word in enumerate(text.split())
        ]
        lines.append(LineTruth(text, words[0].start_s, words[-1].end_s, None, 0.0, words))
        at = words[-1].end_s + gap
        return words[0].start_s, words[-1].end_s

    for number in range(6):
        question, answer = QUESTIONS[(number + seed) % len(QUESTIONS)]
        say(STATEMENTS[(number + seed) % len(STATEMENTS)], PAUSE_S if number % 2 else GAP_S)
        start, end = say(question, PAUSE_S)
        begins, _ = say(answer, GAP_S)
        asked.append(Asked(question, answer, start, (end, begins)))
        say(question, GAP_S)  # rhetorical: nobody is given the time
        say(STATEMENTS[number % len(STATEMENTS)], GAP_S)
    say("Who has seen all of it?", PAUSE_S)
    say("Nobody but the old owl who sleeps all day above the door of the mill.", GAP_S)
    return lines, asked, at


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Part, list[Asked]]]:
    folder = tmp_path_factory.mktemp("programme")
    found = []
    for seed in range(3):
        lines, asked, seconds = programme(seed)
        path = folder / f"p{seed}.mp4"
        render(path, [int(seconds) * 4], fps=4, size=(32, 16))
        path.with_suffix(".vtt").write_text(vtt(lines))
        part = Part(Video(path.stem, str(path), probe=probe(path)))
        for stage in (
            Transcribe(Speech(engine="subtitles")),
            RestoreSentences(Sentences()),
            SplitTranscript(Units(mode="question_pause", pause_s=2.0)),
            SpeechQa(Settings(context_s=5.0)),
        ):
            stage.setup()
            part = stage.process(part)
        found.append((part, asked))
    return found


def unit_f1(found: list[tuple[str, str, float]], asked: list[Asked]) -> float:
    """F1 of (question, answer, end of the clip) against the truth; times within 0.3 s."""
    left = list(found)
    hits = 0
    for own in asked:
        for one in left:
            if one[:2] == (own.question, own.answer) and abs(one[2] - own.pause[1]) <= 0.3:
                left.remove(one)
                hits += 1
                break
    return 2 * hits / (len(found) + len(asked))


def units(segments: list[Segment]) -> list[tuple[str, str, float]]:
    return [(q.question, q.answer, s.span.end_s) for s in segments for q in s.samples]


def test_questions_with_a_pause_are_found_and_no_others(
    told: list[tuple[Part, list[Asked]]],
) -> None:
    for part, asked in told:
        made = unit_f1(units(part.video.layer("moments")), asked)
        said = part.video.layer("sentences")
        without = [  # the operator left out: any question with the sentence behind it
            (a.texts[0].text, b.texts[0].text, b.span.start_s)
            for a, b in itertools.pairwise(said)
            if a.texts[0].text.endswith("?")
        ]
        assert made >= 0.95 > unit_f1(without, asked)


def test_a_clip_holds_context_question_and_pause_and_not_the_answer(
    told: list[tuple[Part, list[Asked]]],
) -> None:
    for part, asked in told:
        whole = part.video.probe.span  # type: ignore[union-attr]
        for segment, own in zip(part.video.layer("moments"), asked, strict=True):
            [sample] = segment.samples
            assert sample.evidence == [segment.span]
            assert abs(segment.span.end_s - own.pause[1]) <= 0.3
            assert abs(segment.span.start_s - max(0.0, own.start - 5.0)) <= 0.3
            assert whole.start_s <= segment.span.start_s < segment.span.end_s <= whole.end_s
            assert segment.texts_of("question")[0].text == own.question


def test_a_long_answer_makes_no_question_and_says_why(
    told: list[tuple[Part, list[Asked]]],
) -> None:
    for part, _ in told:
        lacks = [s.labels["moments_lacks"] for s in part.video.layer("speech") if s.labels]
        assert lacks == ["short_answer"]
