"""Train the teacher: first its eyes, on what every patch shows; then eyes and tongue together.

A caption is a dozen bits for a clip, a rendered frame holds the exact truth of every patch. Eyes
trained on that for some minutes spare the language model most of its way, which is what makes two
processor cores enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from progress import Progress
from scenes import (
    COLUMNS,
    FRAMES,
    HEIGHT,
    ROWS,
    WIDTH,
    Clips,
    held_out,
    jpeg,
    shrink,
    slot_ids,
)
from tasks import (
    Turn,
    blind,
    caption_turn,
    judge_turn,
    narration_turn,
    nothing_turn,
    paraphrase,
    qa_turn,
    reversed_in_time,
)
from teacher import Packed, Packer, Trainee, build, patches
from together import part
from torch import Tensor
from vocabulary import tokenizer

from clipmill.stages.compose.altered import SLOTS, altered
from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.world import BACKDROPS, Scene


class Data:
    """Training clips in memory."""

    def __init__(self, files: Sequence[Clips]) -> None:
        self.all = files

    def draw(self, rng: np.random.Generator) -> tuple[Clips, int]:
        clips = self.all[int(rng.integers(len(self.all)))]
        return clips, int(rng.integers(len(clips)))

    def scene(self, rng: np.random.Generator) -> Scene:
        clips, number = self.draw(rng)
        return clips.scenes[number]

    def times(self, rng: np.random.Generator) -> list[float]:
        clips, number = self.draw(rng)
        return clips.times[number].tolist()


def start_from_components(trainee: Trainee, frames: NDArray[np.uint8]) -> None:
    """The patch embedding as the patches' principal components, near unit variance."""
    flat = patches(torch.from_numpy(frames)).flatten(0, 1).double()
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    proj = trainee.model.model.visual.patch_embed.proj
    width = proj.weight.shape[0]
    kernel = vectors[:, -width:].T / (values[-width:, None].sqrt() + 0.05)
    kernel = kernel.float().view(width, 3, 1, *proj.weight.shape[-2:]) / 2
    with torch.no_grad():
        proj.weight.copy_(kernel.expand_as(proj.weight) * 0.5)
        proj.bias.zero_()


def disturbed(frames: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
    """Frames [n, ...] of one clip with other light, contrast and noise."""
    if rng.random() < 0.3:
        return torch.from_numpy(frames)
    gain, shift = float(rng.uniform(0.9, 1.1)), float(rng.uniform(-10, 10))
    noise = rng.standard_normal(frames.shape, np.float32) * float(rng.uniform(0, 5))
    return torch.from_numpy(np.clip(frames * gain + shift + noise, 0, 255).astype(np.uint8))


def seeing_targets(clips: Clips, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per frame the cover of merged tokens [4, 48], labels [4, 5] and places [4, 2, 3]."""
    scene = clips.scenes[number]
    cover = clips.covers[number].reshape(FRAMES, ROWS // 2, 2, COLUMNS // 2, 2)
    cover = cover.max(axis=(2, 4)).reshape(FRAMES, -1)
    other = len(scene.things) - 1
    labels = [BACKDROPS.index(scene.backdrop), *slot_ids(scene, 0), *slot_ids(scene, other)]
    return (
        torch.from_numpy(cover.astype(np.int64)),
        torch.tensor(labels).expand(FRAMES, -1),
        torch.from_numpy(clips.places[number]),
    )


@dataclass(frozen=True, slots=True)
class Mix:
    """What is asked about a clip besides captions: so many verdicts on average, and each of the two
    text-only questions with this probability. Beside the clips, `readings` blocks of narration and
    a quarter as many verdicts on text alone; `misheard` is the chance of a sentence to be so,
    `noise` that of one more clip, of noise, for each clip of a batch.
    """

    verdicts: float
    texts: float
    readings: int = 0
    misheard: float = 0.05
    noise: float = 0.0


def turns_for(
    scene: Scene, times: list[float], other: Scene, rng: np.random.Generator, mix: Mix
) -> list[Turn]:
    """The questions asked about a clip in one step."""
    context = f"asr: {paraphrase(other, rng)}" if rng.random() < 0.05 else ""
    turns = [caption_turn("brief", scene, times, context)]
    if rng.random() < 0.6:
        turns.append(caption_turn("dense", scene, times))
    if rng.random() < 0.25:
        turns.append(caption_turn("action", scene, times))
    turns += [verdict(scene, times, other, rng) for _ in range(_verdicts(rng, mix))]
    if rng.random() < mix.texts:
        turns.append(qa_turn(scene, paraphrase(scene, rng)))
    if rng.random() < mix.texts:
        turns.append(narration_turn([scene, other][: int(rng.integers(1, 3))], rng))
    return turns


def turns_for_noise(
    times: list[float], other: Scene, rng: np.random.Generator, mix: Mix
) -> list[Turn]:
    """The same of a clip that shows nothing."""
    kinds = ["brief", *(["dense"] * (rng.random() < 0.6)), *(["action"] * (rng.random() < 0.25))]
    turns = [nothing_turn(kind, times) for kind in kinds]
    caption = paraphrase(other, rng)
    turns += [judge_turn(None, times, other, caption) for _ in range(_verdicts(rng, mix))]
    return turns


def _verdicts(rng: np.random.Generator, mix: Mix) -> int:
    return int(mix.verdicts) + bool(rng.random() < mix.verdicts % 1)


def noise(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames of nothing, as bright and as varied as those of a clip: their own bytes or pixels in
    random places of a picture of some size, or bytes about a random gray, compressed and shrunk.
    """
    width = int(rng.integers(WIDTH, 4 * WIDTH))
    size = (round(width * HEIGHT / WIDTH), width)
    kind, quality = rng.random(), int(rng.integers(40, 96))
    gray, spread = float(rng.uniform(20, 235)), float(rng.uniform(5, 90))
    found = []
    for frame in frames:
        if kind < 0.5:
            picture = rng.choice(frame.ravel(), (*size, 3))
        elif kind < 0.75:
            flat = frame.reshape(-1, 3)
            picture = flat[rng.integers(len(flat), size=size)]
        else:
            values = rng.standard_normal((*size, 3), np.float32) * spread + gray
            picture = np.clip(values, 0, 255).astype(np.uint8)
        found.append(shrink(jpeg(picture, quality)))
    return np.stack(found)


def verdict(scene: Scene, times: list[float], other: Scene, rng: np.random.Generator) -> Turn:
    """Whether a caption fits: a right one, one wrong in one slot, or one of `other`.

    The other scene's teaches that what is said is no hint of what is seen.
    """
    kind = rng.random()
    said = scene if kind < 0.35 else other
    if 0.35 <= kind < 0.7:
        said = altered(scene, pick(rng, (*SLOTS, "motion")), rng)
    return judge_turn(scene, times, said, paraphrase(said, rng))


def readings(
    data: Data, packer: Packer, narrated: int, judged: int, rng: np.random.Generator,
    misheard: float = 0.05,
) -> list[Packed]:  # fmt: skip
    """Two batches of questions about text alone: narration, and verdicts on what is given as seen.

    Blocks of one batch are about as long as each other, so that little of it is padding.
    """
    most = int(rng.integers(1, 9))
    blocks, verdicts = [], []
    fillers = float(rng.uniform(0, 0.6))
    for _ in range(narrated):
        count = int(rng.integers(max(1, most - 1), most + 1))
        scenes = [data.scene(rng) for _ in range(count)]
        blocks.append(narration_turn(scenes, rng, fillers=fillers, misheard=misheard))
    for _ in range(judged):
        scene, other = data.scene(rng), data.scene(rng)
        verdicts.append(blind(verdict(scene, data.times(rng), other, rng)))
    return [packer.texts(blocks), packer.texts(verdicts)]


def batch_of(
    data: Data, packer: Packer, size: int, rng: np.random.Generator, mix: Mix
) -> tuple[Tensor, Packed, tuple[Tensor, Tensor, Tensor]]:
    """Frames [4 n, ...], packed questions, and the targets of seeing. A clip of noise is the last
    and has no targets."""
    frames, asked, targets = [], [], []
    for _ in range(size):
        clips, number = data.draw(rng)
        scene, times = clips.scenes[number], clips.times[number].tolist()
        pixels, target = clips.frames[number], seeing_targets(clips, number)
        turned = reversed_in_time(scene)
        if rng.random() < 0.5 and not any(held_out(t, turned.backdrop) for t in turned.things):
            scene, pixels = turned, pixels[::-1]
            target = (target[0].flip(0), target[1], target[2].flip(0))
        frames.append(disturbed(np.ascontiguousarray(pixels), rng))
        source, place = data.draw(rng)
        asked.append(turns_for(scene, times, source.scenes[place], rng, mix))
        targets.append(target)
    if rng.random() < size * mix.noise:
        clips, number = data.draw(rng)
        frames.append(torch.from_numpy(noise(clips.frames[number], rng)))
        asked.append(turns_for_noise(clips.times[number].tolist(), data.scene(rng), rng, mix))
    cover, labels, places = (torch.cat(part) for part in zip(*targets, strict=True))
    return torch.cat(frames), packer(asked), (cover, labels, places)


def window(places: Tensor, rng: np.random.Generator) -> Tensor:
    """Merged tokens [16] of a 4 x 4 window near one of the things at `places` [2, 3]."""
    spots = places[places[:, 2] > 0]
    x, y, _ = spots[int(rng.integers(len(spots)))].tolist()
    top = int(np.clip(round(y * ROWS / 2 - 2 + float(rng.uniform(-0.9, 0.9))), 0, ROWS // 2 - 4))
    left = round(x * COLUMNS / 2 - 2 + float(rng.uniform(-0.9, 0.9)))
    left = int(np.clip(left, 0, COLUMNS // 2 - 4))
    rows, columns = np.arange(4)[:, None] + top, np.arange(4)[None] + left
    return torch.from_numpy((rows * (COLUMNS // 2) + columns).ravel())


def train_eyes(
    trainee: Trainee, data: Data, rate: float, steps: int, seed: int, work: Path
) -> None:
    """On windows around things, a third of a picture, for a third of the cost."""
    progress = Progress("eyes", [trainee], rate, steps, seed, work)
    for rng in progress.steps_left():
        frames, targets, windows = [], [], []
        for _ in range(part(32)):
            clips, number = data.draw(rng)
            some = rng.choice(FRAMES, 2, replace=False)
            frames.append(disturbed(clips.frames[number][some], rng))
            cover, labels, places = (one[some] for one in seeing_targets(clips, number))
            blocks = torch.stack([window(own, rng) for own in places])
            windows.append(blocks)
            targets.append((cover.gather(1, blocks), labels, places))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            merged, _ = trainee.vision(patches(torch.cat(frames)), torch.cat(windows))
        cover, labels, places = (torch.cat(part) for part in zip(*targets, strict=True))
        loss, shown = trainee.seeing_loss(merged, cover, labels, places)
        progress.step(loss, **shown)


def train_reading(
    trainee: Trainee, packer: Packer, data: Data, rate: float, steps: int, seed: int, work: Path
) -> None:
    """Text alone, without the eyes: to copy times and to compare phrases takes many examples, and
    a step without pictures gives several times as many for its cost.
    """
    progress = Progress("reading", [trainee.model.model.language_model], rate, steps, seed, work)
    for rng in progress.steps_left():
        losses = []
        for packed in readings(data, packer, part(16), part(16), rng):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                losses.append(trainee.text_loss(packed))
        events, verdicts = losses
        progress.step(events + verdicts, events=events.item(), verdicts=verdicts.item())


def train_all(
    trainee: Trainee, packer: Packer, data: Data, name: str, rate: float, steps: int, seed: int,
    mix: Mix, work: Path, *, frozen: bool,
) -> None:  # fmt: skip
    """Replies and seeing together. `frozen` leaves the blocks of the eyes as they are, which takes
    a third off the cost of a step.
    """
    tower = trainee.model.model.visual
    for piece in (tower.patch_embed, tower.pos_embed, tower.blocks):
        piece.requires_grad_(not frozen)
    progress = Progress(name, [trainee], rate, steps, seed, work)
    for rng in progress.steps_left():
        frames, packed, targets = batch_of(data, packer, part(8), rng, mix)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, merged = trainee.loss(frames, packed)
        seeing, shown = trainee.seeing_loss(merged[: len(targets[0])], *targets)
        total, shown = loss + 0.1 * seeing, {"replies": loss.item(), **shown}
        if mix.readings:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                narrated, judged = part(mix.readings), part(mix.readings // 4)
                texts = readings(data, packer, narrated, judged, rng, mix.misheard)
                read = [trainee.text_loss(packed) for packed in texts]
            total = total + sum(read)
            shown |= {"events": read[0].item(), "verdicts": read[1].item()}
        progress.step(total, **shown)
    tower.requires_grad_(True)


def new_trainee(seed: int) -> tuple[Trainee, Packer]:
    words = tokenizer()
    packer = Packer(words)
    return Trainee(build(words, seed), packer), packer
