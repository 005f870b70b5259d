"""Conversations of two voices whose turns are known, and a pyannote pipeline that knows them.

The narrator speaks as it is and, played faster, as somebody else. The network that finds turns is
trained on the spot, in a minute, on other conversations; the one that compares voices has random
weights, which keep apart what sounds apart. All between them is pyannote's own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clipmill.stages.compose.speech import RATE, say
from clipmill.stages.models.vad import Pcm

FASTER = 1.45
SECONDS = 5.0  # that the network hears at once
WHO = ("the red circle", "the blue star", "the green square")
DOES = ("moves to the left", "goes up")
WHERE = ("over the grass", "in the sky")

PIPELINE = """
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: AgglomerativeClustering
    segmentation: $model/segmentation
    segmentation_step: 0.2
    embedding: $model/embedding
    plda: $model/plda
params:
  segmentation: {min_duration_off: 0.0}
  clustering: {method: average, threshold: 0.05, min_cluster_size: 1}
"""


@dataclass
class Conversation:
    """Sound, and who says which word from when to when, in milliseconds."""

    pcm: Pcm
    words: list[tuple[str, int, int, int]] = field(default_factory=list)  # text, start, end, voice
    voice_at: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def conversation(rng: np.random.Generator, seconds: float) -> Conversation:
    """Sentences of either voice with short pauses; `voice_at` has 0 for nobody per sample."""
    length = int(seconds * RATE)
    made = Conversation(np.empty(0, np.int16), voice_at=np.zeros(length, np.int64))
    sound = rng.normal(0, 5, length)
    at = int(rng.integers(0, RATE))
    while at < length:
        voice = int(rng.integers(2))
        told = say([str(rng.choice(phrases)) for phrases in (WHO, DOES, WHERE)])
        faster = FASTER if voice else 1.0
        steps = np.arange(0, len(told.pcm) - 1, faster)
        wave = np.interp(steps, np.arange(len(told.pcm)), told.pcm)[: length - at]
        sound[at : at + len(wave)] += wave * rng.uniform(0.5, 1.2)
        made.voice_at[at : at + len(wave)] = voice + 1
        for text, *borders in told.words:
            start, end = (round((at + border / faster) * 1000 / RATE) for border in borders)
            if end <= seconds * 1000:
                made.words.append((text, start, end, voice))
        at += len(wave) + int(rng.integers(RATE // 5, RATE))
    made.pcm = np.clip(np.round(sound), -32768, 32767).astype(np.int16)
    return made


def write_pipeline(folder: Path) -> Path:
    """A pipeline as pyannote's hub has them: two networks, a comparison of voices, one file."""
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    finds = PyanNet(
        sincnet={"stride": 10},
        lstm={"hidden_size": 24, "num_layers": 1, "bidirectional": True},
        linear={"hidden_size": 24, "num_layers": 1},
    )
    finds.specifications = Specifications(
        Problem.MONO_LABEL_CLASSIFICATION, Resolution.FRAME, SECONDS,
        classes=["one", "other"], powerset_max_classes=1, permutation_invariant=True,
    )  # fmt: skip
    finds.build()
    _train(finds)
    size = 64
    compares = XVectorMFCC(dimension=size)
    compares.specifications = Specifications(
        Problem.REPRESENTATION, Resolution.CHUNK, SECONDS, classes=["one", "other"]
    )
    compares.build()
    for name, network in (("segmentation", finds), ("embedding", compares)):
        _save(network, folder / name)
    none, same = np.zeros(size), np.eye(size)
    (folder / "plda").mkdir()
    np.savez(folder / "plda" / "xvec_transform.npz", mean1=none, mean2=none, lda=same)
    np.savez(folder / "plda" / "plda.npz", mu=none, tr=same, psi=np.ones(size))
    (folder / "config.yaml").write_text(PIPELINE)
    return folder


def _train(network: Any, steps: int = 45, batch: int = 6) -> None:
    import torch

    rng = np.random.default_rng(0)
    learns = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        heard = [conversation(rng, SECONDS) for _ in range(batch)]
        sound = np.stack([own.pcm for own in heard]).astype(np.float32) / 32768
        found = network(torch.from_numpy(sound)[:, None])
        frames = np.linspace(0, sound.shape[1] - 1, found.shape[1]).astype(int)
        truth = torch.from_numpy(np.stack([own.voice_at[frames] for own in heard]))
        learns.zero_grad()
        torch.nn.functional.nll_loss(found.flatten(0, 1), truth.flatten()).backward()
        learns.step()
    network.eval()


def _save(network: Any, folder: Path) -> None:
    """A checkpoint as its trainer would leave one, of a network that no trainer has seen."""
    import lightning
    import torch

    folder.mkdir(parents=True)
    trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(network)
    kept = {
        "state_dict": network.state_dict(),
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": lightning.__version__,
    }
    network.on_save_checkpoint(kept)
    torch.save(kept, folder / "pytorch_model.bin")


def sentences_of(words: list[tuple[str, int, int, int]]) -> list[list[tuple[str, int, int, int]]]:
    """Runs of words of one voice."""
    return [list(run) for _, run in itertools.groupby(words, key=lambda word: word[3])]
