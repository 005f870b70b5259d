"""Train the encoder: a CLIP with a small convolutional eye, in open_clip's own format.

Scores of different clips are compared with one threshold, so besides the usual contrast within a
batch every pair is judged by itself. Each picture meets its caption with one slot changed: random
captions differ in nearly everything, and telling them apart teaches little. Motion cannot be seen
in one picture and is never what makes a caption wrong here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from progress import Progress
from safetensors.torch import save_file
from scenes import FRAMES, slot_ids
from tasks import paraphrase
from torch import Tensor, nn
from torch.nn import functional
from train_teacher import Data, disturbed

from clipmill.stages.compose.altered import altered
from clipmill.stages.compose.scenes import pick
from clipmill.stages.compose.wording import captions, spoken
from clipmill.stages.compose.world import BACKDROPS, Scene

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


def train_encoder(data: Data, rate: float, steps: int, seed: int, work: Path) -> Any:
    """The trained model."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CONFIG["model_cfg"])
    extra = _Extra()
    words = open_clip.SimpleTokenizer(
        context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"]
    )
    progress = Progress("encoder", [model, extra], rate, steps, seed, work)
    for rng in progress.steps_left():
        pixels, texts, labels, places = _batch(data, rng, 48)
        seen, maps = _look(model.visual, pixels)
        pictures = functional.normalize(seen, dim=-1)
        written = model.encode_text(words(texts), normalize=True)
        loss = fits = _contrast(pictures, written, extra.scale.exp(), extra.bias)
        for part, wanted in zip(extra.slots(pictures * 10).split(8, dim=1), labels.T, strict=True):
            loss = loss + 0.3 * functional.cross_entropy(part, wanted)
        for head, features in zip(extra.things, maps, strict=True):
            of_thing, share = _things_loss(head, features, places)
            loss = loss + of_thing
        progress.step(loss, contrast=fits.item(), shape=share)
    with torch.no_grad():
        model.logit_scale.copy_(extra.scale)
    return model.eval()


class _Extra(nn.Module):
    """What exists in training only: heads for slots and things, and the scale of the contrast."""

    def __init__(self) -> None:
        super().__init__()
        width = CONFIG["model_cfg"]["vision_cfg"]["width"]
        self.slots = nn.Linear(CONFIG["model_cfg"]["embed_dim"], 24)
        self.things = nn.ModuleList([nn.Linear(width * by, 16) for by in (16, 32)])
        self.bias = nn.Parameter(torch.tensor(-2.0))
        self.scale = nn.Parameter(torch.tensor(2.3))


def save(model: Any, folder: Path) -> None:
    """The folder that ships: float16 weights and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
        if name != "attn_mask"
    }
    weights = folder / "open_clip_model.safetensors"
    save_file(state, weights, {"format": "pt"})
    weights.chmod(0o644)  # safetensors makes it for its owner alone, and packages keep that
    text = json.dumps(CONFIG, indent=2) + "\n"
    (folder / "open_clip_config.json").write_text(text, encoding="utf-8")


def _look(tower: Any, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The picture's vectors, and the maps of the last two layers."""
    third = tower.layer3(tower.layer2(tower.layer1(tower.stem(pixels))))
    fourth = tower.layer4(third)
    return tower.attnpool(fourth), [third, fourth]


def _things_loss(head: nn.Module, features: Tensor, places: Tensor) -> tuple[Tensor, float]:
    """Shape and colour from the map where a thing stands; `places` [n, 2, 4]: x, y, shape, colour.

    What a whole picture's caption says of shape is learnt only after thousands of steps; said of
    the spot itself it is learnt in some hundreds.
    A missing thing has a shape below zero. Also the share right.
    """
    spots = functional.grid_sample(features, places[:, :, None, :2] * 2 - 1, align_corners=False)
    found = head(spots[:, :, :, 0].transpose(1, 2))
    real = places[:, :, 2] >= 0
    shape, colour = found[real].split(8, dim=1)
    wanted = places[real].long()
    loss = functional.cross_entropy(shape, wanted[:, 2])
    right = float((shape.argmax(1) == wanted[:, 2]).float().mean())
    return loss + 0.3 * functional.cross_entropy(colour, wanted[:, 3]), right


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


def _batch(
    data: Data, rng: np.random.Generator, size: int
) -> tuple[Tensor, list[str], Tensor, Tensor]:
    """Pixels [n, 3, 96, 96]; n right captions, then n with each kind of change; labels [n, 3];
    places of the things as `_things_loss` takes them.
    """
    frames, labels = [], []
    places = torch.full((size, 2, 4), -1.0)
    texts: list[list[str]] = [[] for _ in range(1 + len(CHANGED))]
    for row in range(size):
        clips, number = data.draw(rng)
        scene, frame = clips.scenes[number], int(rng.integers(FRAMES))
        frames.append(_squashed(clips.frames[number][frame], rng))
        form = float(rng.random())
        way = int(rng.integers(4))
        texts[0].append(_text(scene, form, way, rng))
        for pile, slot in zip(texts[1:], CHANGED, strict=True):
            pile.append(_text(altered(scene, slot, rng), form, way, rng))
        labels.append((*slot_ids(scene, 0), BACKDROPS.index(scene.backdrop)))
        for thing in range(len(scene.things)):
            spot = clips.places[number, frame, thing, :2]
            places[row, thing] = torch.tensor([*spot, *slot_ids(scene, thing)])
    flat = [text for pile in texts for text in pile]
    return pixels_of(np.stack(frames)), flat, torch.tensor(labels), places


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
