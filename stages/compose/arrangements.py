"""What a recipe makes of its inputs before it annotates them: the `compose` part of a recipe.

An arrangement says which clips go into one video (the input itself, several inputs, its fragments,
its steps, needles, or noise that hides a word) and what is done with them. Every input yields one
video per arrangement; partners, order and times follow from the arrangement's name, the input's id
and the seed, so a set can be made again on any number of machines and in any order.

Partners that are alike are looked for among a random few: comparing all captions with all is
quadratic, and a set of 100,000 clips does not need the very nearest.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from clipmill.schemas.arrow import to_arrow
from clipmill.schemas.clocks import MILLISECONDS, Span
from clipmill.schemas.errors import ClipmillError
from clipmill.schemas.fingerprints import fingerprint
from clipmill.schemas.records import Video
from clipmill.stages.asr_text.untrusted import clean_line
from clipmill.stages.compose.cards import Needle, card_names, write_card
from clipmill.stages.compose.compose_clips import Settings as ComposeSettings
from clipmill.stages.compose.compose_clips import compose
from clipmill.stages.compose.noise import Settings as NoiseSettings
from clipmill.stages.compose.noise import pictures
from clipmill.stages.compose.timeline import Clip, Manifest, Piece
from clipmill.stages.compose.transform_video import Settings as TransformSettings
from clipmill.stages.compose.transform_video import transform
from clipmill.stages.media import sandbox
from clipmill.stages.media.probe import probe
from clipmill.stages.media.source import local
from clipmill.stages.media.write import write_video
from clipmill.stages.qa.task_wording import Task
from clipmill.stages.stage import StageSettings

STAGE = "compose"
_CANDIDATES = 200
"""Inputs among which partners that are alike are looked for."""
_DISTRACTORS = 12
_MAX_TEXT = 500
_WORD = re.compile(r"[^\W\d_]+")


class Step(StageSettings):
    """One entry of the column `steps`: a list of these in JSON."""

    start: float = Field(ge=0)
    """Seconds from the video's start."""
    end: float = Field(gt=0)
    """Seconds from the video's start."""
    text: str
    """What is done."""


class Arrangement(StageSettings):
    """One way to make videos out of the inputs."""

    take: Literal["clip", "clips", "fragments", "steps", "needles", "noise"] = "clip"
    """What goes into a video: the input; several inputs; equal fragments of the input; the spans
    its column `steps` lists; the input and needles; noise that hides the input's id."""
    count: int = Field(2, ge=1, le=64)
    """Clips, fragments or needles."""
    least: int = Field(0, ge=0, le=64)
    """Draw the number of clips, fragments or needles from here to `count`; 0 takes `count`."""
    alike: bool = False
    """Take inputs whose captions share words; always with different captions."""
    needle: Needle = "shape"
    """Needles are cards with a shape or a word, or the middle of another input."""
    needle_s: float = Field(1.0, gt=0.05)
    """Length of a needle in seconds."""
    same: bool = False
    """All needles of a video are one and the same, shown 1 to `count` times."""
    copies: int = Field(1, ge=1, le=1000)
    """Videos of each input, by other seeds."""
    text_column: str = "caption"
    """Column of the manifest with the text of an input."""
    contrast_column: str = ""
    """Column with the text that is right when the input is played backwards."""
    tasks: tuple[Task, ...] = ()
    """Tasks that these videos are made for, among those that the recipe poses; all if none."""
    compose: ComposeSettings = ComposeSettings()
    """How clips are put together; needles are always inserted."""
    transform: TransformSettings | None = None
    """What is done to the one clip instead."""
    noise: NoiseSettings = NoiseSettings()
    """How films of noise are drawn."""


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make: from which inputs, and by which seed."""

    id: str
    arrangement: Arrangement
    videos: tuple[Video, ...]  # the input, then its partners
    seed: int
    distractors: tuple[str, ...]  # texts that are of none of the clips

    def fingerprint(self) -> str:
        return fingerprint(
            self.id,
            self.arrangement.model_dump(mode="json"),
            [[video.id, video.source, video.meta] for video in self.videos],
            self.seed,
        )


def jobs(name: str, arrangement: Arrangement, videos: Sequence[Video]) -> Iterator[Job]:
    """The videos that an arrangement makes: `NAME/ID` per input, further copies `NAME/ID~2` ..."""
    for video in videos:
        for copy in range(1, arrangement.copies + 1):
            copy_name = f"{name}/{video.id}" + (f"~{copy}" if copy > 1 else "")
            seed = int(fingerprint(name, video.id, arrangement.compose.seed, copy)[:8], 16)
            # Without the name: two arrangements of the same clips, as both orders are, make a pair.
            rng = random.Random(fingerprint(video.id, arrangement.compose.seed, copy))
            own = arrangement
            if arrangement.least:
                count = rng.randint(min(arrangement.least, own.count), own.count)
                own = arrangement.model_copy(update={"count": count})
            used = (video, *_partners(own, video, videos, rng))
            texts = {_label(arrangement, other) for other in used}
            others = [_label(arrangement, other) for other in _few(videos, rng)]
            distinct = dict.fromkeys(text for text in others if text and text not in texts)
            yield Job(copy_name, own, used, seed, tuple(distinct)[:_DISTRACTORS])


def make(job: Job, out: Path) -> tuple[Manifest, dict[str, str]]:
    """Write a job's video to `out`; its manifest, and columns for its questions.

    Raises MediaError for an input that cannot be read, ClipmillError where nothing can be made of
    it. The columns are `manifest`, `distractors`, `contrast` and `tasks`.
    """
    ways = job.arrangement
    rng = random.Random(job.seed)
    distractors, contrast = list(job.distractors), ""
    if ways.take == "noise":
        manifest = _noise(job, out)
    else:
        with ExitStack() as held:
            paths = [held.enter_context(local(video.source)) for video in job.videos]
            clips = _clips(job, paths, out.parent, rng)
            if ways.transform is not None:
                change = ways.transform.model_copy(update={"seed": job.seed})
                own, reverse = _text(ways, job.videos[0]), _contrast(ways, job.videos[0])
                backwards = change.operation == "reverse"
                # A text that is right forwards is not right backwards, unless somebody says so.
                text, contrast = (reverse, own) if backwards else (own, reverse)
                clip = Clip(clips[0].id, clips[0].path, clips[0].span, text)
                manifest = transform(clip, change, out)
            else:
                if len(clips) == 1:
                    contrast = _contrast(ways, job.videos[0])
                settings = ways.compose.model_copy(update={"seed": job.seed})
                if ways.take == "needles":
                    settings = settings.model_copy(update={"operation": "insert"})
                manifest = compose(clips, settings, out)
        if ways.take == "needles" and ways.needle != "clip":
            shown = {piece.text for piece in manifest.pieces}
            distractors = [name for name in card_names(ways.needle) if name not in shown]
            rng.shuffle(distractors)
    columns = {
        "manifest": json.dumps(to_arrow(manifest), sort_keys=True),
        "distractors": json.dumps(distractors[:_DISTRACTORS]),
        "contrast": contrast,
        "tasks": json.dumps(ways.tasks) if ways.tasks else "",
    }
    return manifest, {key: value for key, value in columns.items() if value}


def _partners(
    arrangement: Arrangement, video: Video, videos: Sequence[Video], rng: random.Random
) -> list[Video]:
    wanted = 0
    if arrangement.take == "clips":
        wanted = arrangement.count - 1
    elif arrangement.take == "needles" and arrangement.needle == "clip":
        wanted = 1 if arrangement.same else arrangement.count
    if not wanted:
        return []
    own = _text(arrangement, video)
    others = {own: video} if own else {}
    candidates = _few(videos, rng)
    if arrangement.alike:
        candidates.sort(key=lambda other: -_likeness(own, _text(arrangement, other)))
    chosen: list[Video] = []
    for other in candidates:
        text = _text(arrangement, other)
        if other.id != video.id and text not in others and len(chosen) < wanted:
            chosen.append(other)
            if text:  # a question by caption needs captions that tell the clips apart
                others[text] = other
    return chosen


def _few(videos: Sequence[Video], rng: random.Random) -> list[Video]:
    return rng.sample(videos, min(len(videos), _CANDIDATES))


def _likeness(one: str, two: str) -> float:
    """Shared words over all words."""
    a, b = (set(_WORD.findall(text.casefold())) for text in (one, two))
    return len(a & b) / len(a | b) if a | b else 0.0


def _clips(job: Job, paths: list[Path], folder: Path, rng: random.Random) -> list[Clip]:
    """The clips of a job in their own order; cards are written to `folder`."""
    ways = job.arrangement
    own = [
        Clip(video.id, path, None, _text(ways, video))
        for video, path in zip(job.videos, paths, strict=True)
    ]
    if ways.take == "clips" and len(own) < ways.count:
        raise _few_inputs(job, ways.count, len(own))
    if ways.take in ("clip", "clips"):
        return own
    if ways.take == "steps":
        return [
            Clip(own[0].id, paths[0], Span.of_seconds(step.start, step.end), step.text)
            for step in _steps(job.videos[0])[: ways.count]
        ]
    # The probe runs in the sandbox, like all reading of media that may be anybody's.
    facts = [sandbox.call(probe, path, timeout_s=ways.compose.timeout_s) for path in paths]
    if ways.take == "fragments":
        length = Fraction(facts[0].duration_s).limit_denominator(1_000_000)
        clock = facts[0].picture.clock
        ends = [clock.tick(length * n / ways.count) for n in range(ways.count + 1)]
        spans = [Span(clock, *pair) for pair in pairwise(ends)]
        return [Clip(own[0].id, paths[0], span) for span in spans]
    times = rng.randint(1, ways.count) if ways.same else 1
    if ways.needle == "clip":
        if len(own) < 2:
            raise _few_inputs(job, 2, len(own))
        needles = []
        for clip, fact in zip(own[1:], facts[1:], strict=True):
            start = max(0.0, (fact.duration_s - ways.needle_s) / 2)
            end = min(fact.duration_s, start + ways.needle_s)
            span = Span.of_seconds(start, end, MILLISECONDS)
            needles.append(Clip(clip.id, clip.path, span, clip.text))
    else:
        picture = facts[0].picture
        rate = 25.0
        if picture.fps_num and picture.fps_den:
            rate = min(60.0, max(4.0, picture.fps_num / picture.fps_den))
        names = rng.sample(card_names(ways.needle), 1 if ways.same else ways.count)
        needles = []
        for name in names:
            card = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.mp4"
            write_card(name, card, ways.needle_s, rate)
            needles.append(Clip(name, card, None, name))
    host = Clip(own[0].id, paths[0])  # what is said of the host is no needle's text
    return [host, *(needles * times)]


def _steps(video: Video) -> list[Step]:
    try:
        steps = TypeAdapter(list[Step]).validate_json(video.meta.get("steps", "[]"))
    except ValidationError as error:
        first = error.errors()[0]
        raise ClipmillError(
            f"the column steps is no list of steps: {first['msg']} at {first['loc']}",
            cure='write [{"start": 1.0, "end": 4.5, "text": "peel the onion"}, ...]',
            input=video.id,
            stage=STAGE,
        ) from error
    if len(steps) < 2:
        raise ClipmillError(
            f"{len(steps)} steps have no order",
            cure="list at least two in the column steps, or leave the video out",
            input=video.id,
            stage=STAGE,
        )
    kept = [s.model_copy(update={"text": clean_line(s.text, _MAX_TEXT)}) for s in steps]
    return sorted(kept, key=lambda step: step.start)


def _noise(job: Job, out: Path) -> Manifest:
    settings, content = job.arrangement.noise, job.videos[0].id
    shown = pictures(content, settings, job.seed)
    # Prediction from other pictures fails along the outline and leaves it in each of them: at any
    # lossy quality its smoothness gave the content away in 200 of 200 pictures.
    count = write_video(out, shown, settings.fps, crf=settings.crf, gop=1, b_frames=0)
    span = Span.of_seconds(0.0, count / settings.fps)
    piece = Piece(content, 0, span, 0, count, 0.0, count / settings.fps, text=content)
    values: dict[str, Any] = settings.model_dump(mode="json")
    return Manifest(
        "noise",
        job.seed,
        {key: str(value) for key, value in values.items()},
        [],
        settings.width,
        settings.height,
        settings.fps,
        1,
        count,
        count / settings.fps,
        [piece],
    )


def _text(arrangement: Arrangement, video: Video) -> str:
    return clean_line(video.meta.get(arrangement.text_column, ""), _MAX_TEXT)


def _label(arrangement: Arrangement, video: Video) -> str:
    """What a question may name the input by: its text, or the content that noise hides."""
    return video.id if arrangement.take == "noise" else _text(arrangement, video)


def _contrast(arrangement: Arrangement, video: Video) -> str:
    return clean_line(video.meta.get(arrangement.contrast_column, ""), _MAX_TEXT)


def _few_inputs(job: Job, wanted: int, there: int) -> ClipmillError:
    return ClipmillError(
        f"{wanted} inputs with captions of their own are needed, {there} found",
        cure="give more inputs, or lower `count`",
        input=job.videos[0].id,
        stage=STAGE,
    )
