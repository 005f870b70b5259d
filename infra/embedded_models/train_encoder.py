"""Train the encoder: a CLIP with a small convolutional eye, in open_clip's own format.

Scores of different clips are compared with one threshold, so besides the usual contrast within a
batch every pair is judged by itself. Each picture meets its caption with one slot changed: random
captions differ in nearly everything, and telling them apart teaches little. Motion cannot be seen
in one picture and is never what makes a caption wrong here.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scenes import FRAMES, slot_ids
from tasks import altered, paraphrase
from torch import Tensor, nn
from torch.nn import functional
from train_teacher import Data, disturbed

from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.wording import captions, spoken
from clipmill.stages.compose.world import BACKDROPS, Scene

log = logging.getLogger(__name__)

SIZE = 96
CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 96,
        "vision_cfg": {"image_size": SIZE, "layers": [1, 1, 2, 1], "width": 16, "head_width": 64},
        "text_cfg": {
            "context_length": 56,
            "vocab_size": 49408,
            "width": 64,
            "heads": 2,
            "layers": 2,
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    },
}
CHANGED = ("object", "colour", "background")


def train_encoder(data: Data, minutes: float, steps: int, seed: int) -> Any:
    """The trained model; stops at `steps`, or when `minutes` have passed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3])
    model = open_clip.CLIP(**CONFIG["model_cfg"])
    heads = nn.Linear(CONFIG["model_cfg"]["embed_dim"], 24)
    bias = nn.Parameter(torch.tensor(-2.0))
    scale = nn.Parameter(torch.tensor(2.3))
    words = open_clip.SimpleTokenizer(
        context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"]
    )
    parameters = [*model.parameters(), *heads.parameters(), bias, scale]
    rate = 2e-3
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.02, betas=(0.9, 0.98))
    begin, mean = time.monotonic(), 5.0
    for step in range(steps):
        share = max(step / steps, (time.monotonic() - begin) / (60 * minutes))
        if share >= 1:
            break
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = rate * warm * (0.02 + 0.98 * (0.5 + 0.5 * np.cos(np.pi * share)))
        pixels, texts, labels = _batch(data, rng, 48)
        pictures = model.encode_image(pixels, normalize=True)
        written = model.encode_text(words(texts), normalize=True)
        loss = _contrast(pictures, written, scale.exp(), bias)
        slots = heads(pictures * 10)
        for part, wanted in zip(slots.split(8, dim=1), labels.T, strict=True):
            loss = loss + 0.3 * functional.cross_entropy(part, wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean += 0.05 * (loss.item() - mean)
        if step % 25 == 24:
            log.info("encoder %d loss %.3f", step + 1, mean)
            data.refresh()
    with torch.no_grad():
        model.logit_scale.copy_(scale)
    return model.eval()


def save(model: Any, folder: Path) -> None:
    """The folder that ships: float16 weights and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if name != "attn_mask"
    }
    save_file(state, folder / "open_clip_model.safetensors", {"format": "pt"})
    text = json.dumps(CONFIG, indent=2) + "\n"
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")


def _contrast(pictures: Tensor, written: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """`written` holds the right captions of all pictures, then each wrong one of each picture."""
    count = len(pictures)
    logits = scale * pictures @ written.T
    right = torch.arange(count)
    loss = functional.cross_entropy(logits, right)
    loss = loss + functional.cross_entropy(logits[:, :count].T, right)
    judged = logits + bias
    own = torch.arange(len(written)) % count == right[:, None]
    fits = judged.diagonal()
    wrong, others = judged[:, count:][own[:, count:]], judged[~own]
    for some, sign in ((fits, 1), (wrong, -1), (others, -1)):
        loss = loss - functional.logsigmoid(sign * some).mean()
    return loss


def _batch(data: Data, rng: np.random.Generator, size: int) -> tuple[Tensor, list[str], Tensor]:
    """Pixels [n, 3, 96, 96]; n right captions, then n with each kind of change; labels [n, 3]."""
    frames, labels = [], []
    texts: list[list[str]] = [[] for _ in range(1 + len(CHANGED))]
    for _ in range(size):
        clips, number = data.draw(rng)
        scene = clips.scenes[number]
        frames.append(_squashed(clips.frames[number][int(rng.integers(FRAMES))], rng))
        form = float(rng.random())
        way = int(rng.integers(4))
        texts[0].append(_text(scene, form, way, rng))
        for pile, slot in zip(texts[1:], CHANGED, strict=True):
            pile.append(_text(altered(scene, slot, rng), form, way, rng))
        labels.append((*slot_ids(scene, 0), BACKDROPS.index(scene.backdrop)))
    return (
        pixels_of(np.stack(frames)),
        [text for pile in texts for text in pile],
        torch.tensor(labels),
    )


def _text(scene: Scene, form: float, way: int, rng: np.random.Generator) -> str:
    if form < 0.65:
        return paraphrase(scene, rng)
    if form < 0.9 or scene.backdrop in ("plain", "gradient"):
        return pick(rng, captions(scene).detailed)
    return " ".join(spoken(scene, way % 2))  # the ways that name the backdrop


def _squashed(frame: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    how = (cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LINEAR)[int(rng.integers(3))]
    small = cv2.resize(frame, (SIZE, SIZE), interpolation=how)
    return disturbed(np.asarray(small, np.uint8), rng).numpy()


def pixels_of(frames: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, 96, 96, 3] as the encoder's preprocessing gives them."""
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return (pixels - 0.5) / 0.25
