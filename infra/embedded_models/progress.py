"""A training that can be stopped at any step and goes on as if it had not been.

Steps are counted, never minutes, and every step draws from a random stream of its own, so the same
seeds and the same number of processes give the same weights on a busy and on a quiet machine, in
one go and in ten.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from together import average_gradients, rank
from torch import Tensor, nn

log = logging.getLogger(__name__)

_KEEP, _TELL, _WARMUP = 50, 25, 40  # steps


class Progress:
    """One stage of a training: its modules, its optimizers, and how far it is.

    Muon takes the matrices of transformer blocks and AdamW all else; the rate warms up linearly
    and decays by a cosine.
    """

    def __init__(
        self,
        name: str,
        modules: Sequence[nn.Module],
        rate: float,
        steps: int,
        seed: int,
        work: Path,
    ) -> None:
        self.name, self.rate, self.steps, self.seed = name, rate, steps, seed
        self.path = work / f"{name}.pt"
        self.modules = list(modules)
        blocks, rest = [], []
        for module in modules:
            for path, parameter in module.named_parameters():
                if parameter.requires_grad:
                    within = parameter.ndim == 2 and ("blocks." in path or ".layers." in path)
                    (blocks if within else rest).append(parameter)
        self.parameters = [*blocks, *rest]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        ]
        if blocks:
            self.optimizers.append(
                torch.optim.Muon(blocks, lr=rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
            )
        self.done = 0
        self._means: dict[str, float] = {}
        if self.path.exists():
            self._load()

    def steps_left(self) -> Iterator[np.random.Generator]:
        """A random stream for every step that is still to be made."""
        while self.done < self.steps:
            yield np.random.default_rng([self.seed, self.done, rank()])
        self._save()

    def step(self, loss: Tensor, **shown: float) -> None:
        """Descend; `shown` are numbers for the log."""
        loss.backward()
        average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        rate = self.rate * min(1.0, (self.done + 1) / _WARMUP)
        rate *= 0.03 + 0.97 * (0.5 + 0.5 * float(np.cos(np.pi * self.done / self.steps)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.done += 1
        for name, value in {"loss": loss.item(), **shown}.items():
            self._means[name] = 0.95 * self._means.get(name, value) + 0.05 * value
        if self.done % _TELL == 0:
            means = " ".join(f"{name} {value:.3f}" for name, value in self._means.items())
            log.info("%s %d of %d: %s", self.name, self.done, self.steps, means)
        if self.done % _KEEP == 0:
            self._save()

    def _save(self) -> None:
        if rank():
            return
        state: dict[str, Any] = {
            "done": self.done,
            "modules": [module.state_dict() for module in self.modules],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        partial = self.path.with_suffix(".part")
        torch.save(state, partial)
        partial.replace(self.path)

    def _load(self) -> None:
        state = torch.load(self.path, weights_only=True)
        self.done = state["done"]
        for module, saved in zip(self.modules, state["modules"], strict=True):
            module.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        log.info("%s goes on at step %d", self.name, self.done)
