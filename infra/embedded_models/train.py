"""Make both embedded models from nothing: render, train, save, measure.

    python infra/embedded_models/train.py --work /tmp/embedded --out stages/models/weights

Everything follows from the seeds and steps below and the number of processes. Stopped at any time,
the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
from pathlib import Path

import torch

from clipmill.stages.models.torchvision_shim import prepare

prepare()

import evaluate  # noqa: E402
import train_encoder  # noqa: E402
from scenes import Clips, render_clips  # noqa: E402
from teacher import save  # noqa: E402
from together import rank, side_by_side  # noqa: E402
from train_teacher import (  # noqa: E402
    Data,
    Mix,
    new_trainee,
    start_from_components,
    train_all,
    train_eyes,
    train_reading,
)
from vocabulary import tokenizer  # noqa: E402

FILES, CROWDED, CLIPS = 8, 4, 1000
SEED = 1
TESTED = 200
EYES_STEPS, READING_STEPS, ENCODER_STEPS = 1000, 1000, 800
# Steps, rate, whether the eyes are frozen, and what is asked of each clip.
STAGES = (
    ("tongue", 400, 2e-3, True, Mix(0.8, 0.15)),
    ("both", 1200, 1e-3, False, Mix(0.8, 0.15)),
    ("sharp", 800, 6e-4, False, Mix(2.0, 0.8)),
)
# The same on all clips, the crowded ones too, after the stage that reads text alone.
LAST = (
    ("together", 730, 8e-4, False, Mix(1.0, 0.1, readings=20)),
    ("finish", 300, 5e-4, False, Mix(1.0, 0.1, readings=20)),
    ("doubt", 400, 5e-4, False, Mix(1.0, 0.1, readings=20, misheard=0.25, noise=1 / 16)),
)
TEACHER, ENCODER = "clipmill-world-vl", "clipmill-world-clip"

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="clips and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="where the two folders go")
    parser.add_argument("--processes", type=int, choices=[1, 2, 4], default=2, help="cores to use")
    parser.add_argument("--only", choices=["teacher", "encoder"])
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asked.work.mkdir(parents=True, exist_ok=True)
    files = [asked.work / f"train{number}.npz" for number in range(FILES + CROWDED)]
    with multiprocessing.get_context("fork").Pool(asked.processes) as pool:
        pool.starmap(render_file, enumerate(files), chunksize=1)
    clips = [Clips.load(path) for path in files]
    data, every = Data(clips[:FILES]), Data(clips)
    if asked.only != "encoder":
        folder = asked.out / TEACHER
        side_by_side(
            asked.processes, asked.work, lambda: make_teacher(data, every, asked.work, folder)
        )
        _write(folder, evaluate.examine_teacher(str(folder), TESTED))
    if asked.only != "teacher":
        torch.set_num_threads(asked.processes)
        make_encoder(data, asked.work, asked.out / ENCODER)


def render_file(number: int, path: Path) -> None:
    if not path.exists():
        render_clips(number, CLIPS, crowded=number >= FILES).save(path)


def make_encoder(data: Data, work: Path, folder: Path) -> None:
    model = train_encoder.train_encoder(data, 2e-3, ENCODER_STEPS, SEED, work)
    train_encoder.save(model, folder)
    _write(folder, evaluate.examine_encoder(str(folder), TESTED))


def make_teacher(data: Data, every: Data, work: Path, folder: Path) -> None:
    """Called in every process that takes part, each with its part of the batches. `every` holds
    the crowded clips too, which only the last stages are shown.
    """
    trainee, packer = new_trainee(SEED)
    some = data.all[0].frames[:100]
    start_from_components(trainee, some.reshape(-1, *some.shape[2:]))
    train_eyes(trainee, data, 2e-3, EYES_STEPS, SEED, work)
    for seed, (name, steps, rate, frozen, mix) in enumerate(STAGES, SEED + 1):
        train_all(trainee, packer, data, name, rate, steps, seed, mix, work, frozen=frozen)
    reading = SEED + 1 + len(STAGES)
    train_reading(trainee, packer, data, 1.5e-3, READING_STEPS, reading, work)
    for seed, (name, steps, rate, frozen, mix) in enumerate(LAST, reading + 1):
        train_all(trainee, packer, every, name, rate, steps, seed, mix, work, frozen=frozen)
    if rank() == 0:
        save(trainee.model, tokenizer(), folder)


def _write(folder: Path, figures: dict[str, float]) -> None:
    """The figures go beside this file: in the model's folder they would be part of its identity."""
    log.info("%s\n%s", folder.name, evaluate.report(figures))
    text = json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=1)
    measured = Path(__file__).parent / "measured"
    measured.mkdir(exist_ok=True)
    (measured / f"{folder.name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
