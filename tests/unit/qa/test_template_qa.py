"""Every question a template asks is answered rightly, as an oracle of its own reads the facts."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import (
    Author,
    Part,
    Sample,
    Segment,
    Transcript,
    Utterance,
    Video,
    Word,
)
from clipmill.stages.qa.facts import ALIKE
from clipmill.stages.qa.generate_qa import GenerateQa
from clipmill.stages.qa.template_qa import TemplateQa

WRITER = Author("test")
FRAMES = Clock("v0", 1001, 30000, 17)
ALL = ("camera", "motion", "brightness", "colour", "asr", "ocr")
CAMERA = {
    "stands still": "static",
    "pans left": "pan_left",
    "pans right": "pan_right",
    "tilts up": "tilt_up",
    "tilts down": "tilt_down",
    "zooms in": "zoom_in",
    "zooms out": "zoom_out",
}
COLOUR = st.sampled_from(sorted(ALIKE))
VOCABULARY = ["quick", "brown", "foxes", "jumping", "over", "lazy", "a", "dogs", "pasta"]


@st.composite
def clips(draw: st.DrawFn) -> Part:
    """A video of a few clips with random labels, speech with times, and screen text."""
    video = Video("v", "v.mp4")
    lengths = draw(st.lists(st.integers(30, 400), min_size=1, max_size=4))
    starts = [17 + sum(lengths[:place]) for place in range(len(lengths))]
    video.add_segments(
        "shots", [Span(FRAMES, s, s + n) for s, n in zip(starts, lengths, strict=True)]
    )
    video.transcripts.append(Transcript(MILLISECONDS, WRITER))
    for segment in video.segments:
        segment.labels = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "camera": st.sampled_from([*CAMERA.values(), "mixed", "wobble"]),
                    "motion": st.sampled_from(["still", "low", "medium", "high"]),
                    "brightness": st.sampled_from(["dark", "medium", "bright"]),
                    "colour": COLOUR,
                },
            )
        )
        if "colour" in segment.labels:
            more = draw(st.lists(COLOUR, max_size=2))
            names = " and ".join(dict.fromkeys([segment.labels["colour"], *more]))
            segment.add_text("slot:colour", f"the main colours are {names}", WRITER)
        said = draw(st.lists(st.sampled_from(VOCABULARY), max_size=8))
        if said:
            segment.add_text("asr", " ".join(said).capitalize() + ".", WRITER)
            inner = segment.span.on(MILLISECONDS)
            step = (inner.end - inner.start - 4) // len(said)
            words = [
                Word(w, inner.start + 2 + n * step, inner.start + 2 + (n + 1) * step)
                for n, w in enumerate(said)
            ]
            if draw(st.booleans()):
                video.transcripts[0].utterances.append(
                    Utterance(" ".join(said), words[0].start, words[-1].end, words)
                )
        if draw(st.booleans()):
            segment.add_text("ocr", draw(st.sampled_from(["EXIT 7", "Chapter one"])), WRITER)
    return Part(video)


def asked(part: Part, **more: object) -> Video:
    chosen = {"facts": ALL, "questions": 50, **more}
    return TemplateQa(TemplateQa.Settings.model_validate(chosen)).process(part).video


@settings(max_examples=150)
@given(clips(), st.integers(0, 3))
def test_every_answer_is_right_and_its_evidence_in_place(part: Part, seed: int) -> None:
    video = asked(part, seed=seed)
    for place, segment in enumerate(video.segments):
        following = video.segments[place + 1] if place + 1 < len(video.segments) else None
        for sample in segment.samples:
            assert right_answer(sample, segment, following, video) == sample.answer, sample
            if sample.options:
                assert sample.options.count(sample.answer) == 1
                assert len(set(sample.options)) == len(sample.options)
            if sample.labels["scope"] == "neighbours":
                assert following is not None
                assert sample.evidence == [segment.span, following.span]
            else:
                assert sample.evidence
                for span in sample.evidence:
                    assert segment.span.clock.exact(segment.span.start) <= span.clock.exact(
                        span.start
                    )
                    assert span.clock.exact(span.end) <= segment.span.clock.exact(segment.span.end)


def right_answer(sample: Sample, segment: Segment, following: Segment | None, video: Video) -> str:
    """The answer by reading question and annotations, without the code under test."""
    question, options = sample.question, sample.options
    labels = segment.labels
    words = re.findall("[a-z]+", " ".join(t.text for t in segment.texts_of("asr")).lower())
    quoted = re.findall('"([^"]+)"', question)

    def yes(truth: bool) -> str:
        return "yes" if truth else "no"

    if question == "Does the camera move?":
        return yes(labels["camera"] != "static")
    if question == "What does the camera do?":
        return next(f"It {said}." for said, name in CAMERA.items() if name == labels["camera"])
    if found := re.fullmatch(r"Is it true that the camera (.*)\?", question):
        assert labels["camera"] != "mixed"
        return yes(CAMERA[found[1]] == labels["camera"])
    if question == "How much motion is there in the picture?":
        return {"still": "none at all", "high": "very much"}[labels["motion"]]
    if question == "Is the picture completely still?":
        return yes({"still": True, "high": False}[labels["motion"]])
    if question == "Is there very much motion in the picture?":
        return yes({"still": False, "high": True}[labels["motion"]])
    if question == "How bright is the picture?":
        return {"dark": "dark", "bright": "bright"}[labels["brightness"]]
    if found := re.fullmatch(r"Is the picture (dark|bright)\?", question):
        assert labels["brightness"] != "medium"
        return yes(found[1] == labels["brightness"])
    if "main colour" in question or "these colours" in question:
        main = segment.texts_of("slot:colour")[0].text.split("are ")[1].split(" and ")
        own = labels["colour"]
        for option in options:
            if option != own:
                assert option not in main and option not in ALIKE[own]
        if found := re.match(r"Is (\w+) the main", question):
            assert found[1] == own or (found[1] not in main and found[1] not in ALIKE[own])
            return yes(found[1] == own)
        if sample.labels["type"] == "open":
            assert main == [own]
        return own
    if question == "What is said?":
        return segment.texts_of("asr")[0].text
    if question == "What text can be read in the picture?":
        return segment.texts_of("ocr")[0].text
    if question.startswith("How many times"):
        return str(words.count(quoted[0]))
    if question.startswith("Which word is said first"):
        assert sorted(quoted) == sorted(options)
        assert [words.count(word) for word in quoted] == [1, 1]
        return min(quoted, key=words.index)
    if question.startswith("At which second"):
        (span,) = sample.evidence
        spoken = [w for u in video.transcripts[0].utterances for w in u.words]
        assert any(w.text == quoted[0] and w.start == span.start for w in spoken)
        assert words.count(quoted[0]) == 1
        return f"{span.start / 1000 - segment.span.start_s:.1f}"
    if question.startswith("Is the word"):
        return yes(quoted[0] in words)
    if question == "How long does this clip last?":
        return f"{segment.span.duration_s:.1f} seconds"
    assert following is not None, f"no oracle for {question!r}"
    if "lasts longer" in question:
        one, two = segment.span.duration_s, following.span.duration_s
        assert max(one, two) / min(one, two) > 1.2
        return "the first" if one > two else "the second"
    assert "which comes first" in question
    return next(
        option
        for option in options
        if phrase_fits(option, labels) and not phrase_fits(option, following.labels)
    )


def phrase_fits(phrase: str, labels: dict[str, str]) -> bool:
    if found := re.fullmatch(r"the part where the camera (.*)", phrase):
        return labels.get("camera") == CAMERA[found[1]]
    if found := re.fullmatch(r"the part that is mostly (\w+)", phrase):
        return labels.get("colour") == found[1]
    return phrase == f"the {labels.get('brightness')} part"


@given(clips())
def test_the_same_facts_give_the_same_questions(part: Part) -> None:
    def questions(video: Video) -> list[list[Sample]]:
        made = [segment.samples for segment in video.segments]
        for segment in video.segments:
            segment.samples = []
        return made

    assert questions(asked(part, questions=4)) == questions(asked(part, questions=4))


def one_clip(**labels: str) -> Part:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 0, 4000)])
    video.segments[0].labels = labels
    return Part(video)


def test_undecided_labels_are_not_asked_about() -> None:
    part = one_clip(camera="mixed", motion="medium", brightness="medium")
    questions = {sample.question for sample in asked(part).segments[0].samples}
    assert questions == {"Does the camera move?", "How long does this clip last?"}


def test_little_motion_is_not_called_none() -> None:
    part = one_clip(motion="still")
    frozen = asked(part, questions=50).segments[0].samples
    assert any(sample.labels["fact"] == "motion" for sample in frozen)
    part = one_clip(motion="still")
    part.video.segments[0].scores["frozen_share"] = 0.3
    moving = asked(part, questions=50).segments[0].samples
    assert not any(sample.labels["fact"] == "motion" for sample in moving)


def test_all_types_are_asked_where_the_facts_allow_and_none_crowds_out_another() -> None:
    part = one_clip(camera="pan_left", motion="high", brightness="dark", colour="red")
    part.video.segments[0].add_text("asr", "Pasta, more pasta and then cheese", WRITER)
    samples = asked(part, questions=6).segments[0].samples
    assert {s.labels["type"] for s in samples} == {
        *("open", "choice", "yes_no", "counting", "order", "temporal")
    }


def test_yes_and_no_are_about_equally_often_right() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, n * 1000, n * 1000 + 999) for n in range(300)])
    for segment in video.segments:
        segment.labels = {"camera": "zoom_in", "colour": "blue"}
    answers = Counter(
        sample.answer
        for segment in asked(Part(video), types=["yes_no"]).segments
        for sample in segment.samples
        if sample.question != "Does the camera move?"
    )
    assert 0.4 < answers["yes"] / answers.total() < 0.6


def test_overlapping_windows_are_not_put_in_order() -> None:
    video = Video("v", "v.mp4")
    video.add_segments("shots", [Span(MILLISECONDS, 0, 4000), Span(MILLISECONDS, 3999, 9000)])
    for segment, colour in zip(video.segments, ("red", "blue"), strict=True):
        segment.labels = {"colour": colour}
    samples = [s for segment in asked(Part(video)).segments for s in segment.samples]
    assert all(sample.labels["scope"] == "clip" for sample in samples)


def test_needs_follow_the_facts_asked_for() -> None:
    stage = TemplateQa(TemplateQa.Settings(facts=("camera", "asr")))
    assert stage.reads() == {"segments:shots", "labels:camera", "texts:asr"}
    assert not stage.teacher and stage.requires() == {}
    taught = GenerateQa(GenerateQa.Settings(facts=("camera",)))
    assert taught.teacher and taught.own_actor
    assert taught.reads() == {"segments:shots", "labels:camera", "frames"}
    assert "labels:rejected_qa" in taught.adds()


def test_a_word_order_question_points_at_the_words() -> None:
    part = one_clip()
    part.video.segments[0].add_text("asr", "first second", WRITER)
    words = [Word("First", 500, 900), Word("second.", 1000, 1400)]
    part.video.transcripts = [
        Transcript(MILLISECONDS, WRITER, utterances=[Utterance("First second.", 500, 1400, words)])
    ]
    (sample,) = asked(part, types=["order"]).segments[0].samples
    assert sample.answer == "first"
    assert sample.evidence == [Span(MILLISECONDS, 500, 900), Span(MILLISECONDS, 1000, 1400)]


def test_a_transcript_of_other_words_lends_no_times() -> None:
    part = one_clip()
    part.video.segments[0].add_text("asr", "first second", WRITER)
    words = [Word("thirst", 500, 900), Word("second", 1000, 1400)]
    part.video.transcripts = [
        Transcript(MILLISECONDS, WRITER, utterances=[Utterance("thirst second", 500, 1400, words)])
    ]
    samples = asked(part).segments[0].samples
    assert all(sample.evidence == [Span(MILLISECONDS, 0, 4000)] for sample in samples)
    assert not any(sample.question.startswith("At which second") for sample in samples)


@pytest.mark.parametrize("facts", [(), ("camera",)])
def test_a_clip_about_which_nothing_is_known_is_asked_its_length(facts: tuple[str, ...]) -> None:
    (sample,) = asked(one_clip(), facts=facts).segments[0].samples
    assert sample.answer == "4.0 seconds"
