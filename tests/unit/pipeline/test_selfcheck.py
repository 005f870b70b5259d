"""Every figure of the selfcheck on cases whose right value is known, and on a scrambled truth."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipmill.pipeline.selfcheck.alignment import area
from clipmill.pipeline.selfcheck.captions import captions, from_noise, slots_of, true_slots
from clipmill.pipeline.selfcheck.cuts import found_scenes, split
from clipmill.pipeline.selfcheck.figures import Case, Figure
from clipmill.pipeline.selfcheck.looks import describe_clip, main_colours, read_ocr
from clipmill.pipeline.selfcheck.narration import narration, timed
from clipmill.pipeline.selfcheck.planted import judged, planted
from clipmill.pipeline.selfcheck.questions import questions
from clipmill.pipeline.selfcheck.records import complaint, schema_validity
from clipmill.pipeline.selfcheck.speech import align, assign_speech, distance, transcribe, words_of
from clipmill.schemas.clocks import MILLISECONDS, Clock, Span
from clipmill.schemas.records import Author, Segment, Transcript, Utterance, Video, Word
from clipmill.schemas.shards import clip_manifest
from clipmill.stages.compose.render_synthetic import tell
from clipmill.stages.compose.scenes import Settings, plan, random_scene
from clipmill.stages.compose.truth import CutTruth, Moment, SceneTruth, Truth
from clipmill.stages.compose.wording import captions as worded
from clipmill.stages.compose.world import TEXTURED, Storyboard

FPS = 24
CLOCK = Clock("v0", 1, FPS)
PLAN = Settings(min_scenes=3, max_scenes=5, gradual=0.4, upsets=0.5, words=0.5)
AUTHOR = Author("test")


@cache
def truths() -> tuple[Truth, ...]:
    boards = [plan(PLAN, "clean", np.random.default_rng([1, number])) for number in range(12)]
    return tuple(tell(board, f"film{number}", 1) for number, board in enumerate(boards))


def still(truth: Truth) -> Truth:
    """The same under a camera that stands still: only such scenes' captions are judged."""
    truth = copy.deepcopy(truth)
    for scene in truth.scenes:
        scene.camera = "static"
    return truth


def perfect(truth: Truth) -> Case:
    """What a run would write that makes no mistake at all."""
    video = Video(truth.name, f"{truth.name}.mp4")
    said = [
        Utterance(
            line.text,
            round(line.start_s * 1000),
            round(line.end_s * 1000),
            [
                Word(word.text, round(word.start_s * 1000), round(word.end_s * 1000))
                for word in line.words
            ],
        )
        for line in truth.narration
    ]
    video.transcripts.append(Transcript(MILLISECONDS, AUTHOR, utterances=said))
    video.add_segments(
        "shots", [Span(CLOCK, scene.start_frame, scene.end_frame) for scene in truth.scenes]
    )
    for scene, shot in zip(truth.scenes, video.layer("shots"), strict=True):
        words = [
            word.text
            for line in truth.narration
            for word in line.words
            if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
        ]
        if words:
            shot.add_text("asr", " ".join(words), AUTHOR)
        shot.scores["text_area"] = 0.0
        if scene.word:
            shot.add_text("ocr", scene.word, AUTHOR)
        shot.add_text("caption", scene.brief[0], AUTHOR)
        shot.labels["camera"] = scene.camera
        for colour in sorted(main_colours(scene))[:1]:
            shot.labels["colour"] = colour
        _ask(shot, scene)
    return Case(video, truth)


def _ask(shot: Segment, scene: SceneTruth) -> None:
    """Questions whose answers are right, with the shot as evidence."""
    camera = {
        "static": "stands still",
        "pan_left": "pans left",
        "pan_right": "pans right",
        "zoom_in": "zooms in",
        "zoom_out": "zooms out",
    }[scene.camera]
    thing = scene.things[0]
    asked = [
        ("What does the camera do?", f"It {camera}."),
        ("What text can be read in the picture?", scene.word or "-"),
        (f"What colour is the {thing.shape}?", thing.colour),
        (f"What does the {thing.colour} {thing.shape} do?", f"it {_verb(scene)}"),
    ]
    asked += [("What is the main colour of the picture?", c) for c in sorted(main_colours(scene))]
    for question, answer in asked:
        shot.add_sample("qa", question, answer, AUTHOR, evidence=[shot.span])


def _verb(scene: SceneTruth) -> str:
    return scene.brief[0].split(f" {scene.things[0].shape} ", 1)[1]


def cases() -> list[Case]:
    return [perfect(truth) for truth in truths()]


def scrambled(original: list[Case]) -> list[Case]:
    """The same records beside a truth in which everything has been dealt out anew."""
    rng = np.random.default_rng(7)
    scenes = [scene for case in original for scene in case.truth.scenes]
    dealt = iter([scenes[number] for number in rng.permutation(len(scenes))])
    words = [w.text for case in original for line in case.truth.narration for w in line.words]
    spoken = iter([words[number] for number in rng.permutation(len(words))])
    found = []
    for case in original:
        truth = copy.deepcopy(case.truth)
        for scene in truth.scenes:
            other = next(dealt)
            for name in ("things", "backdrop", "tone", "camera", "word", "brief", "detailed"):
                setattr(scene, name, copy.deepcopy(getattr(other, name)))
        for line in truth.narration:
            for word in line.words:
                word.text = next(spoken)
        found.append(replace(case, truth=truth))
    return found


def moved(original: list[Case]) -> list[Case]:
    """The same records beside cuts, transitions, upsets and words at other times."""
    rng = np.random.default_rng(8)
    found = []
    for case in original:
        truth = copy.deepcopy(case.truth)

        def when(truth: Truth = truth) -> int:
            return int(rng.integers(24, truth.frames - 24))

        borders = [scene.start_s for scene in truth.scenes[1:]]
        truth.cuts = [CutTruth(at, at / FPS) for at in (when() for _ in truth.cuts)]
        truth.transitions = [_moment(m.kind, when(), 12) for m in truth.transitions]
        truth.upsets = [
            _moment(m.kind, round(borders[int(rng.integers(len(borders)))] * FPS) - 3, 6)
            for m in truth.upsets
        ]
        for line in truth.narration:
            for word in line.words:
                word.start_s += 1.3
        for one, two in pairwise(truth.scenes):
            one.end_s = two.start_s = two.start_s + 1.0
        found.append(replace(case, truth=truth))
    return found


def _moment(kind: str, frame: int, frames: int) -> Moment:
    return Moment(kind, frame, frame + frames, frame / FPS, (frame + frames) / FPS)


def figures(given: list[Case]) -> Iterator[Figure]:
    yield from split(given)
    yield from transcribe(given)
    yield assign_speech(given)
    yield from describe_clip(given)
    yield from read_ocr(given)
    yield from captions(given)
    yield from questions(given)


def named(found: list[Figure] | Iterator[Figure], name: str) -> Figure:
    (figure,) = [figure for figure in found if name in figure.name]
    return figure


def test_records_that_are_all_right_reach_every_bar_and_ceiling() -> None:
    for figure in figures(cases()):
        assert figure.value == pytest.approx(figure.ceiling, abs=1e-3), figure
        assert figure.met is not False, figure
        assert not figure.misses, figure
        assert figure.count > 5, figure
    assert found_scenes(cases()).value == 1.0


@pytest.mark.parametrize(
    ("name", "chance"),
    [
        ("word error rate", None),
        ("on the right scene", 0.2),
        ("camera move", 0.6),
        ("main colour", 0.55),
        ("words on the screen", 0.2),
        ("without false text", 0.6),
        ("object", 0.3),
        ("colour right", 0.3),
        ("motion", 0.3),
        ("background", 0.3),
        ("all four", 0.1),
        ("not that of another", 0.2),
        ("answers right", 0.45),
    ],
)
def test_a_truth_dealt_out_anew_brings_every_share_down_to_chance(
    name: str, chance: float | None
) -> None:
    figure = named(figures(scrambled(cases())), name)
    assert figure.value is not None
    if chance is None:
        assert figure.value > 0.7
    else:
        assert figure.value <= chance
        assert figure.misses or name == "all four"


@pytest.mark.parametrize(
    ("name", "chance"),
    [("hard cuts", 0.15), ("dissolves", 0.35), ("flashes", 0.0), ("with their own shot", 0.1)],
)
def test_borders_at_other_times_are_not_found(name: str, chance: float) -> None:
    found = moved(cases())
    figure = named([*split(found), found_scenes(found)], name)
    assert figure.value is not None and figure.value <= chance


def test_word_times_are_wrong_by_as_much_as_they_are_moved() -> None:
    figure = named(transcribe(moved(cases())), "median")
    assert figure.value == pytest.approx(1.3, abs=0.001) and figure.met is False


def film(cuts: list[int], frames: int = 240) -> Truth:
    """A truth of nothing but hard cuts, between scenes that are all alike."""
    truth = Truth("film", 0, 64, 48, FPS, frames, frames / FPS, "clean")
    truth.cuts = [CutTruth(at, at / FPS) for at in cuts]
    example = truths()[0].scenes[0]
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, frames], strict=True)):
        truth.scenes.append(
            replace(
                example,
                index=number,
                start_frame=start,
                end_frame=end,
                start_s=start / FPS,
                end_s=end / FPS,
            )
        )
    return truth


def shots(truth: Truth, spans: list[tuple[int, int]]) -> Case:
    video = Video("film", "film.mp4")
    video.add_segments("shots", [Span(CLOCK, *span) for span in spans])
    return Case(video, truth)


def test_a_cut_one_frame_off_counts_and_two_frames_off_is_missed_and_too_many() -> None:
    truth = film([60, 120, 180])
    case = shots(truth, [(0, 61), (61, 118), (118, 180), (180, 240)])
    figure = named(split([case]), "hard cuts")
    assert figure.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert [miss.seconds for miss in figure.misses] == [5.0, round(118 / FPS, 2)]


def test_one_border_finds_one_cut_only() -> None:
    case = shots(film([60, 61]), [(0, 60), (60, 240)])
    assert named(split([case]), "hard cuts").value == pytest.approx(2 / 3)


def test_a_dissolve_is_found_by_one_border_and_a_second_one_is_too_many() -> None:
    truth = film([], frames=240)
    truth.cuts = [CutTruth(200, 200 / FPS)]
    truth.transitions = [_moment("dissolve", 100, 12)]
    one = shots(truth, [(0, 106), (106, 200), (200, 240)])
    two = shots(truth, [(0, 101), (101, 111), (111, 200), (200, 240)])
    lasting = shots(truth, [(0, 99), (113, 200), (200, 240)])
    late = shots(truth, [(0, 116), (116, 200), (200, 240)])
    assert [named(split([case]), "dissolves").value for case in (one, two, lasting, late)] == [
        *(1.0, 1.0, 1.0, 0.0)
    ]
    cuts = [named(split([case]), "hard cuts").value for case in (one, two, lasting, late)]
    assert cuts == pytest.approx([1.0, 2 / 3, 1.0, 2 / 3])


def test_a_cut_flash_is_counted_once_and_named_with_its_time() -> None:
    truth = film([])
    truth.upsets = [_moment("flash", 48, 3), _moment("whip_pan", 120, 12)]
    case = shots(truth, [(0, 48), (48, 51), (51, 240)])
    figure = named(split([case]), "flashes")
    assert figure.value == 0.5
    assert [(miss.seconds, miss.what) for miss in figure.misses] == [(2.0, "a flash was cut")]


def test_a_scene_in_two_pieces_has_no_shot_and_lowers_every_ceiling_behind() -> None:
    case = perfect(still(truths()[0]))
    first = case.shots[0]
    middle = (first.span.start + first.span.end) // 2
    tail = copy.deepcopy(first)
    first.span = Span(CLOCK, first.span.start, middle)
    tail.id, tail.span = "shots-99999", Span(CLOCK, middle, tail.span.end)
    case.video.segments.append(tail)
    count = len(case.truth.scenes)
    for figure in (found_scenes([case]), named(captions([case]), "object")):
        assert figure.value == pytest.approx((count - 1) / count)
    assert named(captions([case]), "object").ceiling == pytest.approx((count - 1) / count)
    assert assign_speech([case]).value == assign_speech([case]).ceiling < 1


def test_the_normaliser_folds_case_and_punctuation_and_keeps_apostrophes() -> None:
    assert words_of("Don\u2019t STOP, at 7-eleven!") == ["don't", "stop", "at", "7", "eleven"]


def test_word_errors_are_replacements_and_gaps() -> None:
    case = perfect(truths()[0])
    spoken = case.video.transcripts[0].utterances[0].words
    total = sum(len(line.words) for line in case.truth.narration)
    spoken[0].text = "wrong"
    del spoken[2]
    spoken.append(Word("more", spoken[-1].end, spoken[-1].end + 10))
    figure = named(transcribe([case]), "error rate")
    assert figure.value == pytest.approx(3 / total)
    said = [word.text for word in case.truth.narration[0].words]
    assert [miss.what for miss in figure.misses] == [
        f"said {said[0]!r}, heard 'wrong'",
        f"said {said[2]!r}, not heard",
        "heard 'more', not said",
    ]


def test_silence_from_the_recogniser_is_an_error_rate_of_one() -> None:
    case = perfect(truths()[0])
    case.video.transcripts.clear()
    rate, times = transcribe([case])
    assert rate.value == 1.0 and rate.met is False
    assert times.value is None


words = st.lists(st.sampled_from("abc"), max_size=9)


@given(words, words)
@settings(max_examples=80, deadline=None)
def test_an_alignment_uses_every_word_once_in_order_and_costs_the_same_both_ways(
    one: list[str], two: list[str]
) -> None:
    pairs = align(one, two)
    assert [left for left, _ in pairs if left is not None] == list(range(len(one)))
    assert [right for _, right in pairs if right is not None] == list(range(len(two)))
    assert distance(one, two) == distance(two, one) <= max(len(one), len(two))
    assert (distance(one, two) == 0) == (one == two)


def test_words_on_the_next_scene_are_on_the_wrong_one() -> None:
    case = perfect(truths()[0])
    texts = [shot.texts_of("asr")[0] for shot in case.shots if shot.texts_of("asr")]
    contents = [text.text for text in texts]
    for text, content in zip(texts, [*contents[1:], contents[0]], strict=True):
        text.text = content
    figure = assign_speech([case])
    assert figure.value is not None and figure.value < 0.5
    assert figure.ceiling == 1.0


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_every_wording_of_a_caption_is_read_as_the_scene_it_was_written_of(seed: int) -> None:
    scene = random_scene(np.random.default_rng(seed), 72, PLAN)
    told = tell(Storyboard(64, 48, FPS, (scene,)), "film", 0).scenes[0]
    forms = worded(scene)
    for text in (*forms.brief, *forms.detailed):
        assert slots_of(text) == true_slots(told), text


@pytest.mark.parametrize("caption", ["", "a person walks in a park", "nothing", "redcircle"])
def test_a_caption_without_words_of_the_world_names_nothing(caption: str) -> None:
    assert not any(slots_of(caption).values())


def test_one_wrong_slot_is_one_miss() -> None:
    case = perfect(still(truths()[0]))
    scene, text = case.truth.scenes[0], case.shots[0].texts_of("caption")[0]
    other = "purple" if scene.things[0].colour != "purple" else "red"
    text.text = text.text.replace(
        f"{scene.things[0].colour} {scene.things[0].shape}", f"{other} {scene.things[0].shape}"
    )
    found = captions([case])
    count = len(case.truth.scenes)
    assert named(found, "colour").value == pytest.approx(1 - 1 / count)
    assert named(found, "all four").value == pytest.approx(1 - 1 / count)
    assert named(found, "object").value == 1.0
    assert named(found, "another").value == 1.0


def test_captions_under_a_moving_camera_are_not_judged() -> None:
    case = perfect(still(truths()[0]))
    case.truth.scenes[0].camera = "pan_left"
    case.shots[0].texts_of("caption")[0].text = "nothing of the kind"
    assert named(captions([case]), "object").value == 1.0
    assert named(captions([case]), "object").count == len(case.truth.scenes) - 1


@pytest.mark.parametrize(("seen", "met"), [(True, False), (False, True)])
def test_captions_of_noise_that_are_right_have_seen_something_else(seen: bool, met: bool) -> None:
    cases = [perfect(still(truth)) for truth in truths()]
    if not seen:  # everybody gets the same caption
        text = cases[0].shots[0].texts_of("caption")[0].text
        for case in cases:
            for shot in case.shots:
                shot.texts_of("caption")[0].text = text
    (figure,) = from_noise(cases)
    assert figure.met is met and figure.count == 4 * sum(len(c.truth.scenes) for c in cases)


def test_swapped_captions_are_those_of_another_scene() -> None:
    case = perfect(still(truths()[0]))
    one, two = (shot.texts_of("caption")[0] for shot in case.shots[:2])
    one.text, two.text = two.text, one.text
    figure = named(captions([case]), "another")
    assert figure.value == pytest.approx(1 - 2 / len(case.shots))
    assert len(figure.misses) == 2


def test_text_that_is_not_on_the_screen_is_false_and_a_misread_word_is_both() -> None:
    given = cases()
    case = next(case for case in given if case.truth.scenes[0].word)
    case.shots[0].texts_of("ocr")[0].text = "QWXZ"
    found = read_ocr([case])
    shown = sum(bool(scene.word) for scene in case.truth.scenes)
    assert named(found, "read").value == pytest.approx(1 - 1 / shown)
    assert named(found, "false").value == pytest.approx(1 - 1 / len(case.shots))


def test_stages_that_did_not_run_are_said_to_be_missing_and_not_to_be_wrong() -> None:
    case = perfect(truths()[0])
    for shot in case.shots:
        shot.texts.clear()
        shot.labels.clear()
        shot.scores.clear()
        shot.samples.clear()
    missing = [
        assign_speech([case]),
        *describe_clip([case]),
        *read_ocr([case]),
        *captions([case]),
        *questions([case]),
        *planted([case], {}, ["alignment"]),
    ]
    assert {figure.value for figure in missing} == {None}
    assert {figure.met for figure in missing} == {None}
    assert {figure.note for figure in missing} == {"not in this recipe"}


def test_stages_that_ran_on_shots_that_are_no_scenes_are_wrong_and_not_missing() -> None:
    case = perfect(next(truth for truth in truths() if truth.scenes[0].word))
    for shot in case.shots:
        shot.span = Span(CLOCK, shot.span.start + 5, shot.span.end + 5)
    found = [assign_speech([case]), *describe_clip([case]), *read_ocr([case])[:1]]
    assert [(figure.value, figure.ceiling) for figure in found] == [(0.0, 0.0)] * len(found)


def ask(
    question: str,
    answer: str,
    change: Callable[[Truth], None] = lambda truth: None,
    evidence: tuple[float, float] | None = None,
) -> tuple[Figure, Figure]:
    """The two figures of a single question about the first shot of a film."""
    truth = copy.deepcopy(truths()[0])
    scene = truth.scenes[0]
    scene.things, scene.camera, scene.backdrop = scene.things[:1], "pan_left", "grass"
    scene.things[0].motion = "still"
    truth.upsets = []
    change(truth)
    case = perfect(truth)
    for shot in case.shots:
        shot.samples.clear()
    shot = case.shots[0]
    span = Span.of_seconds(*evidence) if evidence else shot.span
    shot.add_sample("qa", question, answer, AUTHOR, evidence=[span])
    answers, overlap = questions([case])
    return answers, overlap


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("Does the camera move?", "yes", "no"),
        ("What does the camera do?", "It pans left.", "It pans right."),
        ("Is it true that the camera pans left?", "yes", "no"),
        ("Is it true that the camera tilts up?", "no", "yes"),
        ("What is the main colour of the picture?", "green", "blue"),
        ("Which of these colours covers the most of the picture?", "green", "red"),
        ("Is green the main colour of the picture?", "yes", "no"),
        ("Is pink the main colour of the picture?", "no", "yes"),
        ("Is the picture completely still?", "no", "yes"),
        ('Is the word "zebra" said?', "no", "yes"),
    ],
)
def test_answers_are_judged_by_the_drawing(question: str, right: str, wrong: str) -> None:
    assert ask(question, right)[0].value == 1.0
    assert ask(question, wrong)[0].value == 0.0


def test_questions_about_words_are_judged_by_what_was_said_and_when() -> None:
    truth = truths()[0]
    scene = truth.scenes[0]
    said = [
        word
        for line in truth.narration
        for word in line.words
        if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
    ]
    texts = [word.text for word in said]
    once = [word for word in said if texts.count(word.text) == 1]
    first, last = once[0], once[-1]
    question = f'Which word is said first, "{last.text}" or "{first.text}"?'
    assert ask(question, first.text)[0].value == 1.0
    assert ask(question, last.text)[0].value == 0.0
    question = f'At which second of the clip is the word "{last.text}" said?'
    span = (last.start_s, last.end_s)
    right = ask(question, f"{last.start_s:.1f}", evidence=span)
    assert right[0].value == 1.0 and right[1].value == pytest.approx(1.0, abs=0.02)
    assert ask(question, f"{last.start_s + 0.6:.1f}")[0].value == 0.0
    assert ask("What is said?", " ".join(texts))[0].value == 1.0
    assert ask("What is said?", " ".join(texts[: len(texts) // 2]))[0].value == 0.0
    assert ask(f'How many times is the word "{first.text}" said?', "1")[0].value == 1.0
    assert ask(f'How many times is the word "{first.text}" said?', "2")[0].value == 0.0


def test_what_the_drawing_does_not_decide_is_not_judged() -> None:
    def plain(truth: Truth) -> None:
        truth.scenes[0].backdrop, truth.scenes[0].tone = "plain", "light gray"

    for question, answer in (
        ("How bright is the picture?", "bright"),
        ("What does the camera do?", "It stands still."),
        ("What is the main colour of the picture?", "white"),
        ("Why is this so?", "because"),
    ):
        assert ask(question, answer, plain)[0].value is None, question


def test_evidence_is_the_overlap_of_what_is_stated_with_the_scene() -> None:
    end = truths()[0].scenes[0].end_s
    half = ask("Does the camera move?", "yes", evidence=(0.0, end / 2))[1]
    assert half.value == pytest.approx(0.5, abs=0.01) and half.met is False


def test_the_order_of_two_parts_needs_both_to_be_what_they_are_called() -> None:
    truth = copy.deepcopy(truths()[0])
    first, second = truth.scenes[:2]
    first.backdrop, first.camera, second.backdrop, second.camera = (
        *("grass", "pan_left"),
        *("sand", "static"),
    )
    question = "In this stretch of video, which comes first: one or the other?"
    parts = ("the part where the camera pans left", "the part where the camera stands still")
    for answer, right in zip(parts, (1.0, 0.0), strict=True):
        case = perfect(truth)
        for shot in case.shots:
            shot.samples.clear()
        one, two = case.shots[:2]
        one.add_sample(
            "qa",
            question,
            answer,
            AUTHOR,
            options=list(parts),
            evidence=[one.span, two.span],
            labels={"scope": "neighbours"},
        )
        assert questions([case])[0].value == right
        assert questions([case])[1].value == 1.0


PLANTED = ("alignment", "judged")


def test_planted_captions_count_where_the_filter_judged_them() -> None:
    given = []
    reasons: dict[tuple[str, str], str | None] = {}
    wanted: dict[int, tuple[str, str | None]] = {
        0: ("wrong_caption", "alignment < 0.2"),
        1: ("wrong_caption", None),
        2: ("clean", None),
        3: ("clean", "alignment < 0.2"),
        4: ("clean", "motion < 0.002"),
        5: ("clean", None),
        6: ("wrong_motion", "judged < 1"),
        7: ("wrong_colour", "motion < 0.002"),
    }
    for number, (variant, reason) in wanted.items():
        truth = copy.deepcopy(truths()[number % 6])
        truth.name = f"planted-{number}"
        truth.variant = variant
        truth.given_caption = "a red circle moves up over green grass"
        case = perfect(truth)
        first = case.shots[0]
        first.add_text("given", truth.given_caption, AUTHOR)
        first.scores["alignment"] = 0.1
        reasons[truth.name, first.id] = reason
        given.append(case)
    other, slot, motion, kept = planted(given, reasons, PLANTED)
    assert [other.value, motion.value, kept.value] == pytest.approx([0.5, 1.0, 2 / 3])
    assert [other.count, slot.count, motion.count, kept.count] == [2, 0, 1, 3]
    assert slot.value is None and slot.met is None
    for case in given:  # the truth turned round
        case.truth.variant = "clean" if case.truth.variant != "clean" else "wrong_caption"
    other, _, motion, kept = planted(given, reasons, PLANTED)
    assert [other.value, kept.value] == pytest.approx([1 / 3, 1 / 3])


def test_verdicts_are_balanced_between_right_captions_and_each_kind_of_wrong_ones() -> None:
    given = []
    wanted = [
        ("clean", 1.0), ("clean", 1.0), ("clean", 0.75), ("clean", 1.0),
        ("wrong_motion", 0.75), ("wrong_motion", 1.0), ("wrong_colour", 0.5),
    ]  # fmt: skip
    for number, (variant, score) in enumerate(wanted):
        truth = copy.deepcopy(truths()[number % 6])
        truth.variant, truth.given_caption = variant, "a red circle moves up over green grass"
        case = perfect(truth)
        case.shots[0].add_text("given", truth.given_caption, AUTHOR)
        case.shots[0].scores["judged"] = score
        given.append(case)
    other, slot, motion = judged(given, ["judged"])
    assert other.value is None and other.count == 0
    assert slot.value == pytest.approx((3 / 4 + 1) / 2) and slot.count == 1
    assert motion.value == pytest.approx((3 / 4 + 1 / 2) / 2) and motion.met is False
    assert len(motion.misses) == 2
    assert {figure.note for figure in judged(given, ["another"])} == {"not in this recipe"}


def record() -> dict[str, object]:
    case = perfect(truths()[0])
    media = {"frames": 3, "width": 64, "height": 48, "seconds": 0.125}
    return clip_manifest(case.video, case.shots[0], media)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts.pop("samples"),
        lambda facts: facts.update(layout=99),
        lambda facts: facts["media"].update(frames=0),
        lambda facts: facts["texts"][0].update(text="  "),
        lambda facts: facts["texts"].append(facts["texts"][0]),
        lambda facts: facts["samples"][0].update(answer=""),
        lambda facts: facts["samples"][0].update(options=["yes", "no"]),
        lambda facts: facts["samples"][0].update(options=["yes", "yes"], answer="yes"),
        lambda facts: facts["samples"][0].update(evidence=[]),
        lambda facts: facts["samples"][0]["evidence"][0].update(end_s=99.0),
        lambda facts: facts["samples"][0]["evidence"][0].update(end=0),
        lambda facts: facts["scores"].update(motion="much"),
    ],
)
def test_a_spoilt_record_breaks_its_schema(spoil: Callable[[dict[str, object]], None]) -> None:
    facts = record()
    assert complaint(facts) is None
    spoil(facts)
    assert complaint(facts) is not None
    figure = schema_validity([record(), facts])
    assert figure.value == 0.5 and figure.met is False


def test_a_record_that_is_not_json_is_a_miss() -> None:
    assert schema_validity([None]).value == 0.0


def test_textured_backdrops_alone_show_the_camera() -> None:
    given = cases()
    plain = sum(scene.backdrop not in TEXTURED for case in given for scene in case.truth.scenes)
    total = sum(len(case.truth.scenes) for case in given)
    assert plain and named(describe_clip(given), "camera").count == total - plain


def late(shift: float) -> Case:
    """A film narrated 3 s late, with captions of it that start `shift` seconds off their scenes."""
    truth = copy.deepcopy(truths()[0])
    case = Case(Video(truth.name, f"{truth.name}.mp4"), truth)
    for number, line in enumerate(line for line in truth.narration if line.scene is not None):
        assert line.scene is not None
        line.lag_s = 3.0
        due = truth.scenes[line.scene].start_s
        line.start_s, line.end_s = due + 3.0, due + 4.0
        spoken = Segment(
            f"sentences-{number}", "sentences", Span.of_seconds(line.start_s, line.end_s)
        )
        heard = spoken.add_text("asr", line.text, AUTHOR)
        event = Segment(f"events-{number}", "events", spoken.span)
        told = event.add_text("event", line.text, AUTHOR, sources=[f"{spoken.id}/{heard.id}"])
        moved = Segment(
            f"grounded-{number}", "grounded", Span.of_seconds(due + shift, due + shift + 1)
        )
        moved.add_text("event", line.text, AUTHOR, sources=[f"{event.id}/{told.id}"])
        case.video.segments += [spoken, event, moved]
    return case


@pytest.mark.parametrize(("shift", "met"), [(0.5, True), (2.5, False)])
def test_captions_from_late_narration_are_held_against_their_scenes(
    shift: float, met: bool
) -> None:
    spoken, moved, ratio = narration([late(shift)])[3:]
    assert spoken.value == pytest.approx(3.0, abs=0.01) and spoken.unit == "seconds"
    assert moved.value == pytest.approx(shift, abs=0.01)
    assert ratio.value == pytest.approx(shift / 3, abs=0.01) and ratio.met is met


def test_what_was_written_of_narration_is_held_against_every_sentence() -> None:
    case = late(0.5)
    about = [line for line in case.truth.narration if line.scene is not None]
    seen, named_right, unseen = narration([case])[:3]
    assert (seen.value, seen.count, named_right.value) == (1.0, len(about), 1.0)
    assert unseen.value is None or unseen.count + len(about) == len(case.truth.narration)
    about[0].scene = None  # the same record where the truth knows it as small talk
    seen, _, unseen = narration([case])[:3]
    assert (seen.count, unseen.count) == (
        len(about) - 1,
        len(case.truth.narration) - len(about) + 1,
    )
    assert unseen.value is not None and unseen.value < 1 and "tells of" in unseen.misses[0].what
    grounded = case.video.layer("grounded")
    case.video.segments.remove(grounded[-1])
    grounded[1].texts[-1].text = "a thing that is nowhere"
    seen, named_right, _ = narration([case])[:3]
    assert seen.value == pytest.approx(1 - 1 / seen.count)
    assert named_right.value == pytest.approx(1 - 1 / named_right.count)


def test_timed_captions_are_shown_beside_their_truth() -> None:
    shown = timed([late(0.5)])
    assert len(shown) > 1
    assert all(own.seen_s is not None for own in shown)
    assert all(own.moved_s - own.seen_s == pytest.approx(0.5, abs=0.02) for own in shown)
    assert timed([perfect(truths()[0])]) == []


def test_narration_in_time_has_nothing_to_move() -> None:
    case = late(0.0)
    for line in case.truth.narration:
        line.lag_s = 0.2
    assert all(figure.value is None for figure in narration([case]))


def test_the_area_under_the_curve_is_how_often_right_beats_wrong() -> None:
    right, wrong = np.array([0.9, 0.5, 0.5], np.float32), np.array([0.5, 0.1], np.float32)
    pairs = [(r > w) + 0.5 * (r == w) for r in right for w in wrong]
    assert area(right, wrong) == pytest.approx(sum(pairs) / len(pairs))
    assert area(wrong, right) == pytest.approx(1 - sum(pairs) / len(pairs))
