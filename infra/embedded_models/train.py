"""Make both embedded models from nothing: render, train, save, measure.

    python infra/embedded_models/train.py --work /tmp/embedded --out stages/models/weights

Everything follows from the seeds below; steps are fixed, and `--minutes` only guards against a
slow machine. `--only teacher` or `--only encoder` makes one of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import torch

from clipmill.stages.models.torchvision_shim import prepare

prepare()

import evaluate  # noqa: E402
import train_encoder  # noqa: E402
from scenes import render_clips  # noqa: E402
from teacher import save  # noqa: E402
from train_teacher import (  # noqa: E402
    Data,
    new_trainee,
    start_from_components,
    train_all,
    train_eyes,
)
from vocabulary import tokenizer  # noqa: E402

FILES, CLIPS = 8, 1000
SEED = 1
TESTED = 200
TEACHER, ENCODER = "clipmill-world-vl", "clipmill-world-clip"

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=80.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["teacher", "encoder"])
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(asked.threads)
    asked.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for number in range(FILES):
        path = asked.work / f"train{number}.npz"
        if not path.exists():
            render_clips(number, CLIPS).save(path)
    data = Data(asked.work)
    log.info("rendered %d clips", FILES * CLIPS)
    if asked.only != "teacher":
        make_encoder(data, asked.out / ENCODER, 0.2 * asked.minutes)
    if asked.only != "encoder":
        make_teacher(data, asked.work, asked.out / TEACHER, 0.75 * asked.minutes)
    log.info("%.0f minutes in all", (time.monotonic() - began) / 60)


def make_encoder(data: Data, folder: Path, minutes: float) -> None:
    model = train_encoder.train_encoder(data, minutes, ENCODER_STEPS, SEED)
    train_encoder.save(model, folder)
    _write(folder, evaluate.examine_encoder(str(folder), TESTED))


def make_teacher(data: Data, work: Path, folder: Path, minutes: float) -> None:
    trainee, packer = new_trainee(SEED)
    start_from_components(
        trainee, data.all[0].frames[:100].reshape(-1, *data.all[0].frames.shape[2:])
    )
    train_eyes(trainee, data, 0.2 * minutes, EYES_STEPS, SEED)
    saved = work / "teacher.pt"
    for number, (steps, rate, frozen, share) in enumerate(STAGES):
        train_all(
            trainee, packer, data, share * minutes, steps, SEED + number, rate, TEXTS, saved,
            frozen=frozen,
        )  # fmt: skip
    save(trainee.model, tokenizer(), folder)
    _write(folder, evaluate.examine_teacher(str(folder), TESTED))


def _write(folder: Path, figures: dict[str, float]) -> None:
    """The figures beside the weights, where the tests of the project find what was promised."""
    log.info("%s\n%s", folder.name, evaluate.report(figures))
    text = json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=1)
    (folder / "measured.json").write_text(text + "\n", encoding="utf-8")


EYES_STEPS = 350
ENCODER_STEPS = 600
STAGES = ((900, 2e-3, True, 0.5), (600, 1e-3, False, 0.3))  # steps, rate, frozen, share of time
TEXTS = 0.15  # share of clips that come with each of the two text-only questions

if __name__ == "__main__":
    main()
