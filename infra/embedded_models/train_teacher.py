"""Train the teacher: first its eyes, on what every patch shows; then eyes and tongue together.

A caption is a dozen bits for a clip, a rendered frame holds the exact truth of every patch. Eyes
trained on that for some minutes spare the language model most of its way, which is what makes two
processor cores enough.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scenes import COLUMNS, FRAMES, ROWS, Clips, held_out, slot_ids
from tasks import (
    SLOTS,
    Turn,
    altered,
    caption_turn,
    judge_turn,
    narration_turn,
    paraphrase,
    qa_turn,
    reversed_in_time,
)
from teacher import Packed, Packer, Trainee, build, patches
from torch import Tensor
from vocabulary import tokenizer

from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.world import BACKDROPS, Scene

log = logging.getLogger(__name__)

_WARMUP = 40  # steps


class Optimizers:
    """Muon for the matrices of the blocks, AdamW for all else; linear warm-up, cosine decay."""

    def __init__(self, trainee: Trainee, rate: float, steps: int, minutes: float) -> None:
        blocks = [
            parameter
            for name, parameter in trainee.named_parameters()
            if parameter.requires_grad
            and parameter.ndim == 2
            and (".blocks." in name or ".layers." in name)
        ]
        known = {id(parameter) for parameter in blocks}
        rest = [p for p in trainee.parameters() if id(p) not in known and p.requires_grad]
        self.both = [
            torch.optim.Muon(blocks, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98)),
        ]
        self.parameters = [*blocks, *rest]
        self.rate, self.steps, self.minutes, self.done = rate, steps, minutes, 0
        self.begin = time.monotonic()

    @property
    def share(self) -> float:
        """How much of the way is done: of the steps or of the time, whichever ends first."""
        passed = (time.monotonic() - self.begin) / (60 * self.minutes)
        return min(1.0, max(self.done / self.steps, passed))

    def step(self, loss: Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        rate = self.rate * min(1.0, (self.done + 1) / _WARMUP)
        rate *= 0.03 + 0.97 * (0.5 + 0.5 * np.cos(np.pi * self.share))
        for optimizer in self.both:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.done += 1


class Data:
    """Training clips in memory; rereads the folder for files that are still being rendered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[Path, Clips] = {}
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("train*.npz")):
            if path not in self.files:
                self.files[path] = Clips.load(path)
        self.all = list(self.files.values())

    def draw(self, rng: np.random.Generator) -> tuple[Clips, int]:
        clips = self.all[int(rng.integers(len(self.all)))]
        return clips, int(rng.integers(len(clips)))


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


def turns_for(
    scene: Scene, times: list[float], other: Scene, rng: np.random.Generator, texts: float
) -> list[Turn]:
    """The questions asked about a clip in one step."""
    context = f"asr: {paraphrase(other, rng)}" if rng.random() < 0.05 else ""
    turns = [caption_turn("brief", scene, times, context)]
    if rng.random() < 0.6:
        turns.append(caption_turn("dense", scene, times))
    if rng.random() < 0.25:
        turns.append(caption_turn("action", scene, times))
    if rng.random() < 0.8:
        if rng.random() < 0.5:
            turns.append(judge_turn(scene, times, [], paraphrase(scene, rng)))
        else:
            slot = pick(rng, (*SLOTS, "motion"))
            wrong = altered(scene, slot, rng)
            turns.append(judge_turn(scene, times, [slot], paraphrase(wrong, rng)))
    if rng.random() < texts:
        turns.append(qa_turn(scene, paraphrase(scene, rng)))
    if rng.random() < texts:
        turns.append(narration_turn([scene, other][: int(rng.integers(1, 3))], rng))
    return turns


def batches(
    data: Data, packer: Packer, size: int, seed: int, texts: float
) -> Iterator[tuple[Tensor, Packed, tuple[Tensor, Tensor, Tensor]]]:
    """(frames [4 n, ...], packed questions, targets of seeing), for ever."""
    rng = np.random.default_rng([seed, 1])
    while True:
        frames, asked, targets = [], [], []
        for _ in range(size):
            clips, number = data.draw(rng)
            scene, times = clips.scenes[number], clips.times[number].tolist()
            pixels, target = clips.frames[number], seeing_targets(clips, number)
            turned = reversed_in_time(scene)
            if rng.random() < 0.5 and not any(held_out(t, turned.backdrop) for t in turned.things):
                scene, pixels = turned, pixels[::-1]
                target = tuple(one.flip(0) for one in target)  # type: ignore[assignment]
            frames.append(disturbed(np.ascontiguousarray(pixels), rng))
            source, place = data.draw(rng)
            asked.append(turns_for(scene, times, source.scenes[place], rng, texts))
            targets.append(target)
        both = tuple(torch.cat(part) for part in zip(*targets, strict=True))
        yield torch.cat(frames), packer(asked), both  # type: ignore[misc]


def train_eyes(trainee: Trainee, data: Data, minutes: float, steps: int, seed: int) -> None:
    """Stop at `steps`, or when `minutes` have passed."""
    rng = np.random.default_rng([seed, 0])
    optimizers = Optimizers(trainee, 2e-3, steps, minutes)
    mean = 8.0
    while optimizers.share < 1:
        frames, targets = [], []
        for _ in range(24):
            clips, number = data.draw(rng)
            some = rng.choice(FRAMES, 2, replace=False)
            frames.append(disturbed(clips.frames[number][some], rng))
            targets.append([one[some] for one in seeing_targets(clips, number)])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            merged, _ = trainee.vision(patches(torch.cat(frames)))
        joined = (torch.cat(part) for part in zip(*targets, strict=True))
        loss = trainee.seeing_loss(merged, *joined)
        optimizers.step(loss)
        mean += 0.05 * (loss.item() - mean)
        if optimizers.done % 25 == 0:
            log.info("eyes %d loss %.3f", optimizers.done, mean)
            data.refresh()


def train_all(
    trainee: Trainee, packer: Packer, data: Data, minutes: float, steps: int, seed: int,
    rate: float, texts: float, saved: Path, *, frozen: bool,
) -> None:  # fmt: skip
    """Replies and seeing together; stops at `steps`, or when `minutes` have passed.

    `frozen` leaves the blocks of the eyes as they are, which halves the cost of a step.
    """
    tower = trainee.model.model.visual
    for part in (tower.patch_embed, tower.pos_embed, tower.blocks):
        part.requires_grad_(not frozen)
    optimizers = Optimizers(trainee, rate, steps, minutes)
    mean, seen = 6.0, 4.0
    for frames, packed, targets in batches(data, packer, 8, seed, texts):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, merged = trainee.loss(frames, packed)
        seeing = trainee.seeing_loss(merged, *targets)
        optimizers.step(loss + 0.1 * seeing)
        mean += 0.05 * (loss.item() - mean)
        seen += 0.05 * (seeing.item() - seen)
        if optimizers.done % 20 == 0:
            log.info("all %d loss %.3f seeing %.3f", optimizers.done, mean, seen)
        if optimizers.done % 100 == 0:
            torch.save(trainee.state_dict(), saved)
            data.refresh()
        if optimizers.share >= 1:
            break
    tower.requires_grad_(True)
    torch.save(trainee.state_dict(), saved)


def new_trainee(seed: int) -> tuple[Trainee, Packer]:
    words = tokenizer()
    packer = Packer(words)
    return Trainee(build(words, seed), packer), packer
