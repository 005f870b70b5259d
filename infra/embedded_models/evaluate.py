"""Measure the shipped models on held-out scenes, through the doors the operators use.

Frames are painted at 320 x 240 and handed over as JPEG, as `sample_frames` hands them; the teacher
is asked by `contract.ask` with the shipped prompts and schemas. Nothing of training is imported but
the split and the wording. As a control the pixels of every frame are scrambled, frames of another
clip are shown, and captions with one slot changed are held against the clip.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scenes import FRAMES, TEST_SEED, draw_scene
from tasks import (  # fmt: skip
    EVENTS_SCHEMA,
    JUDGE_SCHEMA,
    NOTHING,
    QA_SCHEMA,
    Turn,
    caption_turn,
    compact,
    judge_prompt,
    narration_turn,
    paraphrase,
    qa_turn,
)

from clipmill.pipeline.selfcheck.alignment import area
from clipmill.pipeline.selfcheck.captions import slots_of as spoken_slots
from clipmill.stages.caption.caption_clip import caption_schema
from clipmill.stages.compose.altered import SLOTS, altered
from clipmill.stages.compose.paint import ScenePainter
from clipmill.stages.compose.wording import captions
from clipmill.stages.compose.world import COLOURS, MOTIONS, SHAPES, Scene
from clipmill.stages.models.contract import ask
from clipmill.stages.models.encoder import EncoderSettings, open_encoder, pool
from clipmill.stages.models.teacher import Request, TeacherSettings, open_teacher

_FPS = 24
_MOTIONS = {
    "left": r"moves to the left",
    "right": r"moves to the right",
    "up": r"moves up",
    "down": r"moves down",
    "grow": r"grows larger",
    "shrink": r"gets smaller",
    "rotate": r"turns around",
    "still": r"stays still",
}
_BACKDROPS = {
    "plain": r"plain",
    "gradient": r"gradient",
    "stripes": r"stripes",
    "checker": r"checkered",
    "grass": r"grass",
    "sand": r"sand",
    "water": r"water",
    "sky": r"sky",
}


class Shown:
    """A test clip: its scene, four JPEGs and their seconds."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        painter = ScenePainter(scene, 320, 240, _FPS)
        numbers = [int((place + 0.5) / FRAMES * scene.frames) for place in range(FRAMES)]
        self.pictures = [painter.frame(number) for number in numbers]
        start = float(rng.uniform(0, 60))
        self.times = [start + number / _FPS for number in numbers]

    def jpegs(self, scramble: np.random.Generator | None = None) -> tuple[bytes, ...]:
        pictures = self.pictures
        if scramble is not None:
            pictures = [_scrambled(picture, scramble) for picture in pictures]
        return tuple(
            cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            for picture in pictures
        )


def held_out_clips(count: int, seed: int = 1) -> list[Shown]:
    """Held-out clips, the same for the same seed."""
    rng = np.random.default_rng([TEST_SEED, 7, seed])
    return [Shown(draw_scene(rng, test=True), rng) for _ in range(count)]


def slots_of(caption: str) -> dict[str, str]:
    """The slots a brief caption names, empty where it names none or not the words of the world."""
    words = re.findall(r"[a-z]+", caption.lower())
    named = next((word for word in words if word in SHAPES), "")
    place = words.index(named) if named else 0
    colour = words[place - 1] if place and words[place - 1] in COLOURS else ""
    motion = next((name for name in MOTIONS if re.search(_MOTIONS[name], caption)), "")
    backdrop = next((name for name, text in _BACKDROPS.items() if text in caption), "")
    return {"object": named, "colour": colour, "motion": motion, "background": backdrop}


def true_slots(scene: Scene) -> dict[str, str]:
    thing = scene.things[0]
    return {
        "object": thing.shape,
        "colour": thing.colour,
        "motion": thing.motion,
        "background": scene.backdrop,
    }


class Examination:
    """A loaded teacher and the questions put to it."""

    def __init__(self, model: str) -> None:
        self.teacher = open_teacher(TeacherSettings(model=model, dtype="float32", device="cpu"))
        self.teacher.setup()

    def replies(self, requests: Sequence[Request]) -> list[dict[str, object] | None]:
        """Values by request, None where the contract was not kept."""
        answers = asyncio.run(ask(self.teacher, requests, repair=False))
        return [
            answers.found[request.id].value if request.id in answers.found else None
            for request in requests
        ]

    def captions(
        self, clips: Sequence[Shown], kind: str, jpegs: Sequence[tuple[bytes, ...]]
    ) -> list[str]:
        requests = [
            Request(
                str(number),
                caption_turn(kind, clip.scene, clip.times).prompt,
                shown,
                caption_schema(1200),
                max_tokens=96,
            )
            for number, (clip, shown) in enumerate(zip(clips, jpegs, strict=True))
        ]
        return [str(value["caption"]) if value else "" for value in self.replies(requests)]

    def slots(self, clips: Sequence[Shown], jpegs: Sequence[tuple[bytes, ...]]) -> dict[str, float]:
        """Share of brief captions that are right, per slot, and with all four right."""
        told = [slots_of(caption) for caption in self.captions(clips, "brief", jpegs)]
        rights = [
            {slot: found[slot] == value for slot, value in true_slots(clip.scene).items()}
            for found, clip in zip(told, clips, strict=True)
        ]
        shares = {slot: float(np.mean([right[slot] for right in rights])) for slot in SLOTS}
        return shares | {"all four": float(np.mean([all(right.values()) for right in rights]))}

    def detailed(self, clips: Sequence[Shown]) -> dict[str, float]:
        """Share of detailed captions that are right word for word: first thing, whole."""
        told = self.captions(clips, "dense", [clip.jpegs() for clip in clips])
        right = [
            caption_turn("dense", clip.scene, clip.times).reply == f'{{"caption":{_json(text)}}}'
            for clip, text in zip(clips, told, strict=True)
        ]
        single = [
            one for one, clip in zip(right, clips, strict=True) if len(clip.scene.things) == 1
        ]
        return {"word for word": float(np.mean(right)), "of one thing": float(np.mean(single))}

    def judged(
        self,
        clips: Sequence[Shown],
        slot: str,
        seed: int = 3,
        scramble: np.random.Generator | None = None,
    ) -> float:
        """Balanced accuracy on right captions and captions with `slot` changed."""
        rng = np.random.default_rng([TEST_SEED, seed])
        requests, wanted = [], []
        for number, clip in enumerate(clips):
            for match in ("yes", "no"):
                scene = clip.scene if match == "yes" else altered(clip.scene, slot, rng)
                prompt = judge_prompt(clip.times, paraphrase(scene, rng))
                name = f"{number}/{match}"
                requests.append(
                    Request(name, prompt, clip.jpegs(scramble), JUDGE_SCHEMA, max_tokens=96)
                )
                wanted.append(match)
        right = {"yes": [], "no": []}  # type: dict[str, list[bool]]
        for value, match in zip(self.replies(requests), wanted, strict=True):
            right[match].append(bool(value) and value["match"] == match)  # type: ignore[index]
        return float(np.mean([np.mean(right["yes"]), np.mean(right["no"])]))

    def fitting(self, clips: Sequence[Shown], jpegs: Sequence[tuple[bytes, ...]]) -> float:
        """Share of right captions that are judged to fit these pictures."""
        requests = [
            Request(
                str(number),
                judge_prompt(clip.times, captions(clip.scene).brief[0]),
                shown,
                JUDGE_SCHEMA,
                max_tokens=96,
            )
            for number, (clip, shown) in enumerate(zip(clips, jpegs, strict=True))
        ]
        values = self.replies(requests)
        return float(np.mean([bool(value) and value["match"] == "yes" for value in values]))

    def questioned(self, clips: Sequence[Shown], seed: int = 5) -> float:
        """Share of replies to `text_qa` that are right to the letter."""
        rng = np.random.default_rng([TEST_SEED, seed])
        turns = [qa_turn(clip.scene, paraphrase(clip.scene, rng)) for clip in clips]
        return float(np.mean([told == true for told, true in self._written(turns, QA_SCHEMA)]))

    def narrated(self, clips: Sequence[Shown], most: int = 6, seed: int = 5) -> dict[str, float]:
        """Blocks of narration about one to `most` scenes, to timed events: shares of them that are
        right to the letter, and of blocks with the right seconds.
        """
        rng = np.random.default_rng([TEST_SEED, seed])
        scenes = [clip.scene for clip in clips]
        turns = [
            narration_turn([scenes[number - back] for back in range(1 + number % most)], rng)
            for number in range(len(scenes))
        ]
        pairs = self._written(turns, EVENTS_SCHEMA)
        times = [[_seconds(text) for text in pair] for pair in pairs]
        return {
            "to the letter": float(np.mean([told == true for told, true in pairs])),
            "seconds": float(np.mean([told == true for told, true in times])),
        }

    def misheard(self, clips: Sequence[Shown], seed: int = 5) -> dict[str, float]:
        """Sentences of which a word or two were misheard, one a block: of the slots that were heard
        the share that is told, of the slots told the share that was not heard.
        """
        rng = np.random.default_rng([TEST_SEED, seed, 1])
        turns = [narration_turn([clip.scene], rng, fillers=0.0, misheard=1.0) for clip in clips]
        heard = kept = told = made_up = 0
        for written, true in self._written(turns, EVENTS_SCHEMA):
            events = [event["text"] for event in json.loads(written or '{"events":[]}')["events"]]
            named = spoken_slots(" ".join(events))
            said = spoken_slots(json.loads(true)["events"][0]["text"])
            for slot in SLOTS:
                heard += bool(said[slot])
                kept += bool(said[slot]) and named[slot] == said[slot]
                told += bool(named[slot])
                made_up += bool(named[slot]) and named[slot] != said[slot]
        return {"heard slots told": kept / heard, "slots made up": made_up / told}

    def _written(self, turns: Sequence[Turn], schema: dict[str, object]) -> list[tuple[str, str]]:
        """Replies beside the right ones, as compact JSON; empty where the contract was not kept."""
        requests = [
            Request(str(number), turn.prompt, (), schema, max_tokens=400)
            for number, turn in enumerate(turns)
        ]
        found = zip(self.replies(requests), turns, strict=True)
        return [(compact(value) if value else "", turn.reply) for value, turn in found]

    def close(self) -> None:
        self.teacher.close()


def examine_teacher(model: str, count: int) -> dict[str, float]:
    """All figures of the model card."""
    clips = held_out_clips(count)
    exam = Examination(model)
    rng = np.random.default_rng(11)
    straight = [clip.jpegs() for clip in clips]
    figures = {f"caption {k}": v for k, v in exam.slots(clips, straight).items()}
    scrambled = [clip.jpegs(rng) for clip in clips]
    figures |= {f"scrambled {k}": v for k, v in exam.slots(clips, scrambled).items()}
    told = exam.captions(clips, "brief", scrambled)
    figures["scrambled, told to be nothing"] = float(np.mean([text == NOTHING for text in told]))
    figures["scrambled, judged to fit"] = exam.fitting(clips, scrambled)
    swapped = exam.slots(clips, [*straight[1:], straight[0]])
    figures |= {f"another clip {k}": v for k, v in swapped.items()}
    figures |= {f"detailed {k}": v for k, v in exam.detailed(clips).items()}
    figures |= {f"judge {slot}": exam.judged(clips, slot) for slot in SLOTS}
    figures["text qa"] = exam.questioned(clips)
    figures |= {f"narration {k}": v for k, v in exam.narrated(clips).items()}
    figures |= {f"misheard narration, {k}": v for k, v in exam.misheard(clips).items()}
    exam.close()
    return figures


def examine_encoder(model: str, count: int) -> dict[str, float]:
    """Areas under the curve: right captions against another clip's, and with one slot changed."""
    clips = held_out_clips(count)
    rng = np.random.default_rng([TEST_SEED, 13])
    encoder = open_encoder(EncoderSettings(model=model, device="cpu"))
    encoder.setup()
    pictures = np.stack([_pooled(encoder.images(clip.jpegs())) for clip in clips])
    right = encoder.texts([paraphrase(clip.scene, rng) for clip in clips])
    fits = (pictures * right).sum(1)
    others = np.stack([(pictures * np.roll(right, shift, 0)).sum(1) for shift in range(1, 11)])
    figures = {"random": area(fits, others.ravel())}
    for slot in ("object", "colour", "background"):
        wrong = [paraphrase(altered(clip.scene, slot, rng), rng) for clip in clips]
        figures[slot] = area(fits, (pictures * encoder.texts(wrong)).sum(1))
    noise = np.stack([_pooled(encoder.images(clip.jpegs(rng))) for clip in clips])
    figures["random, scrambled"] = area(
        (noise * right).sum(1), (noise * np.roll(right, 1, 0)).sum(1)
    )
    encoder.close()
    return figures


def _pooled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    mean = pool(vectors)
    assert mean is not None
    return mean


def _scrambled(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture's own bytes in random places, so that nothing but their mean is left."""
    return rng.permutation(picture.ravel()).reshape(picture.shape)


def _seconds(reply: str) -> list[float] | None:
    return [event["time"] for event in json.loads(reply)["events"]] if reply else None


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def report(figures: dict[str, float]) -> str:
    return "\n".join(f"{name:32s} {value:.3f}" for name, value in figures.items())


if __name__ == "__main__":
    import sys

    what, model, count = sys.argv[1], str(Path(sys.argv[2])), int(sys.argv[3])
    examine = {"teacher": examine_teacher, "encoder": examine_encoder}[what]
    print(report(examine(model, count)))
