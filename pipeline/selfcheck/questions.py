"""Questions against the facts: answers, the seconds given as proof, and what a person would accept.

A question is judged where the drawing decides it and its form is known; brightness, say, is never
judged. Forms are those of the templates and of the model's questions about a caption. Only
questions on shots that are scenes are judged: a wrong shot is the splitter's error, and shows in
the number of questions that were decided. A stretch said to be still may hold still things only,
under a still camera, with nothing flashing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from clipmill.pipeline.selfcheck.captions import slots_of
from clipmill.pipeline.selfcheck.figures import Case, Figure, Miss, share
from clipmill.pipeline.selfcheck.looks import main_colours
from clipmill.pipeline.selfcheck.speech import distance, words_of
from clipmill.schemas.clocks import Span
from clipmill.schemas.records import Sample, Segment
from clipmill.stages.compose.truth import SceneTruth
from clipmill.stages.compose.world import SHAPES, TEXTURED

SECOND_S = 0.3
"""How far a stated second may be from the truth."""
TRANSCRIPT = 0.15
"""Share of wrong words up to which a quoted stretch of speech counts as right."""

_CAMERA = {
    "stands still": "static",
    "pans left": "pan_left",
    "pans right": "pan_right",
    "tilts up": "tilt_up",
    "tilts down": "tilt_down",
    "zooms in": "zoom_in",
    "zooms out": "zoom_out",
}
_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question on a clip with the scene or the two scenes that it is about."""

    case: Case
    sample: Sample
    scenes: tuple[SceneTruth, ...]

    def said(self) -> list[tuple[str, float, float]]:
        """(word, start, end) in seconds of all that is said in the first scene."""
        scene = self.scenes[0]
        return [
            (part, word.start_s, word.end_s)
            for line in self.case.truth.narration
            for word in line.words
            if scene.start_s <= (word.start_s + word.end_s) / 2 < scene.end_s
            for part in words_of(word.text)
        ]


def questions(cases: list[Case]) -> list[Figure]:
    """Share of decided answers that are right, and the median overlap of the evidence, for each
    stage that asked.
    """
    asked: dict[str, list[tuple[Case, Segment, Sample]]] = {}
    for case in cases:
        for shot in case.shots:
            for sample in shot.samples:
                if sample.kind == "qa":
                    asked.setdefault(sample.author.stage, []).append((case, shot, sample))
    if not asked:
        return _of_stage("qa", [])
    return [figure for stage in sorted(asked) for figure in _of_stage(stage, asked[stage])]


def _of_stage(stage: str, asked: list[tuple[Case, Segment, Sample]]) -> list[Figure]:
    right = decided = 0
    overlaps: list[float] = []
    misses: list[Miss] = []
    loose: list[Miss] = []
    for case, shot, sample in asked:
        question = _about(case, shot, sample)
        verdict = judged(question) if question else None
        if question is None or verdict is None:
            continue
        decided += 1
        right += verdict
        where = shot.span.start_s
        if not verdict:
            misses.append(case.miss(where, f"{sample.question} - {sample.answer!r} is wrong"))
        overlap = evidence_iou(question)
        overlaps.append(overlap)
        if overlap < 0.9:
            loose.append(case.miss(where, f"{sample.question} - evidence overlaps {overlap:.2f}"))
    count = len(asked)
    note = f"{decided} of {count} questions are decided" if asked else "not in this recipe"
    middle = median(overlaps) if overlaps else None
    return [
        share(stage, "answers right", right, decided, None, 0.9, misses, note),
        Figure(
            stage,
            "evidence, median overlap",
            middle,
            len(overlaps),
            bar=0.9,
            note=note if middle is None else "",
            misses=loose,
        ),
    ]


def judged(asked: _Asked) -> bool | None:
    """Whether the answer is right, None where the drawing does not decide it."""
    question, answer = asked.sample.question, asked.sample.answer
    for start, rule in _RULES:
        if question.startswith(start):
            return rule(asked, question, answer)
    return _about_thing(asked, question, answer)


def evidence_iou(asked: _Asked) -> float:
    """Overlap over union of the stated time and the time that proves the answer.

    That is the scene, or both scenes, or the true times of the words that are asked about. Spans
    that touch are one.
    """
    stated = _merged([(span.start_s, span.end_s) for span in asked.sample.evidence])
    proof = _merged(_proof(asked))
    shared = sum(
        max(0.0, min(end, end2) - max(start, start2))
        for start, end in stated
        for start2, end2 in proof
    )
    total = sum(end - start for start, end in (*stated, *proof)) - shared
    return shared / total if total > 0 else 0.0


def _about(case: Case, shot: Segment, sample: Sample) -> _Asked | None:
    """The question with its scenes; None where a shot is no scene."""
    spans = [shot.span]
    if sample.labels.get("scope") == "neighbours":
        spans = list(sample.evidence)
    scenes = [_exactly(case, span) for span in spans]
    known = tuple(scene for scene in scenes if scene is not None)
    return _Asked(case, sample, known) if known and len(known) == len(spans) else None


def _exactly(case: Case, span: Span) -> SceneTruth | None:
    return next(
        (
            scene
            for scene, shot in case.scenes()
            if shot is not None and shot.span.start == span.start and shot.span.end == span.end
        ),
        None,
    )


def _proof(asked: _Asked) -> list[tuple[float, float]]:
    quoted = {word for text in _QUOTED.findall(asked.sample.question) for word in words_of(text)}
    times = [(start, end) for word, start, end in asked.said() if word in quoted]
    return times or [(scene.start_s, scene.end_s) for scene in asked.scenes]


def _merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _camera_of(scene: SceneTruth) -> str | None:
    """The camera, where it could be seen to move."""
    return scene.camera if scene.backdrop in TEXTURED else None


def _camera_moves(asked: _Asked, question: str, answer: str) -> bool | None:
    camera = _camera_of(asked.scenes[0])
    return None if camera is None else answer == ("no" if camera == "static" else "yes")


def _camera_open(asked: _Asked, question: str, answer: str) -> bool | None:
    camera = _camera_of(asked.scenes[0])
    told = answer.removeprefix("It ").removesuffix(".")
    return None if camera is None else _CAMERA.get(told) == camera


def _camera_claim(asked: _Asked, question: str, answer: str) -> bool | None:
    camera = _camera_of(asked.scenes[0])
    claim = _CAMERA.get(question.removeprefix("Is it true that the camera ").removesuffix("?"))
    return None if camera is None or claim is None else answer == _yes(claim == camera)


def _is_still(asked: _Asked) -> bool:
    scene = asked.scenes[0]
    upset = any(
        moment.start_s < scene.end_s and moment.end_s > scene.start_s
        for moment in asked.case.truth.upsets
    )
    things = all(thing.motion == "still" for thing in scene.things)
    return things and scene.camera == "static" and not upset


def _still_claim(asked: _Asked, question: str, answer: str) -> bool | None:
    return answer == _yes(_is_still(asked))


def _motion_amount(asked: _Asked, question: str, answer: str) -> bool | None:
    still = _is_still(asked)
    if answer == "none at all":
        return still
    return False if still else None  # how much is very much is a matter of taste


def _colour_open(asked: _Asked, question: str, answer: str) -> bool | None:
    names = main_colours(asked.scenes[0])
    return answer in names if names else None


def _colour_claim(asked: _Asked, question: str, answer: str) -> bool | None:
    names = main_colours(asked.scenes[0])
    claim = re.fullmatch(r"Is (\w+) the main colour of the picture\?", question)
    return answer == _yes(claim[1] in names) if names and claim else None


def _spoken(asked: _Asked, question: str, answer: str) -> bool | None:
    true = [word for word, _, _ in asked.said()]
    return distance(true, words_of(answer)) <= TRANSCRIPT * len(true) if true else False


def _counted(asked: _Asked, question: str, answer: str) -> bool | None:
    quoted = words_of(_QUOTED.findall(question)[0])
    said = [word for word, _, _ in asked.said()]
    return answer == str(sum(said.count(word) for word in quoted))


def _said_first(asked: _Asked, question: str, answer: str) -> bool | None:
    said = [word for word, _, _ in asked.said()]
    quoted = [text.casefold() for text in _QUOTED.findall(question)]
    heard = [word for word in said if word in quoted]
    return bool(heard) and heard[0] == answer.casefold() and len(set(heard)) == len(set(quoted))


def _said_when(asked: _Asked, question: str, answer: str) -> bool | None:
    quoted = _QUOTED.findall(question)[0].casefold()
    starts = [start for word, start, _ in asked.said() if word == quoted]
    stated = _number(answer)
    if stated is None or not starts:
        return False
    return abs(asked.scenes[0].start_s + stated - starts[0]) <= SECOND_S


def _said_at_all(asked: _Asked, question: str, answer: str) -> bool | None:
    quoted = _QUOTED.findall(question)[0].casefold()
    return answer == _yes(quoted in [word for word, _, _ in asked.said()])


def _screen(asked: _Asked, question: str, answer: str) -> bool | None:
    return words_of(answer) == words_of(asked.scenes[0].word)


def _lasts(asked: _Asked, question: str, answer: str) -> bool | None:
    """Shots may end anywhere in a gradual transition, so their length may differ by as much."""
    scene, case = asked.scenes[0], asked.case
    room = 0.05 + sum(
        high - low for low, high in (case.border(at) for at in (scene.start_s, scene.end_s))
    )
    stated = _number(answer.removesuffix(" seconds"))
    return stated is not None and abs(stated - (scene.end_s - scene.start_s)) <= room


def _longer(asked: _Asked, question: str, answer: str) -> bool | None:
    first, second = (scene.end_s - scene.start_s for scene in asked.scenes)
    return answer == ("the first" if first > second else "the second")


def _which_first(asked: _Asked, question: str, answer: str) -> bool | None:
    """Two parts named by their camera or main colour; both must be as they are named."""
    first, second = asked.scenes
    other = next((option for option in asked.sample.options if option != answer), "")
    told = _is_part(first, answer), _is_part(second, other)
    if None in told:
        return None
    return all(told)


def _is_part(scene: SceneTruth, phrase: str) -> bool | None:
    if phrase.startswith("the part where the camera "):
        camera = _camera_of(scene)
        told = _CAMERA.get(phrase.removeprefix("the part where the camera "))
        return None if camera is None else told == camera
    if phrase.startswith("the part that is mostly "):
        names = main_colours(scene)
        return phrase.removeprefix("the part that is mostly ") in names if names else None
    return None


def _about_thing(asked: _Asked, question: str, answer: str) -> bool | None:
    """A model's question about a thing: its colour, what it does, what is behind it."""
    shape = next((word for word in words_of(question) if word in SHAPES), None)
    scene = asked.scenes[0]
    if shape is None:
        return None
    thing = next((thing for thing in scene.things if thing.shape == shape), None)
    kind = question.casefold()
    slots = slots_of(answer)
    if kind.startswith(("what colour", "what color")):
        return thing is not None and words_of(answer)[-1:] == [thing.colour]
    if kind.startswith("what does"):
        return thing is not None and slots["motion"] == thing.motion
    if kind.startswith("what is behind"):
        return thing is not None and slots["background"] == scene.backdrop
    return None


_RULES: tuple[tuple[str, Callable[[_Asked, str, str], bool | None]], ...] = (
    ("Does the camera move?", _camera_moves),
    ("What does the camera do?", _camera_open),
    ("Is it true that the camera", _camera_claim),
    ("Is the picture completely still?", _still_claim),
    ("How much motion is there", _motion_amount),
    ("Which of these colours", _colour_open),
    ("What is the main colour", _colour_open),
    ("Is the word", _said_at_all),
    ("Is ", _colour_claim),
    ("What is said?", _spoken),
    ("How many times is the word", _counted),
    ("Which word is said first", _said_first),
    ("At which second", _said_when),
    ("What text can be read", _screen),
    ("How long does this clip last?", _lasts),
    ("This stretch of video has two segments.", _longer),
    ("In this stretch of video, which comes first", _which_first),
)


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None
