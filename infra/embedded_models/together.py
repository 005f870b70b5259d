"""One training on several cores: every process takes its part of each batch.

The matrices are too small for threads to be of use within one operation, but the gradient of a
batch is the mean of its parts' gradients, and three million of them are quickly averaged. All
processes begin with the same weights and take the same steps, so they stay the same.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

log = logging.getLogger(__name__)


def side_by_side(processes: int, work: Path, train: Callable[[], None]) -> None:
    """Call `train` in so many processes that share their gradients; they are forked, so what is in
    memory is shared too. Raises RuntimeError when one of them fails.
    """
    meeting = work / "meeting"
    meeting.unlink(missing_ok=True)
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=_one, args=(rank, processes, meeting, train), daemon=True)
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        while process.exitcode is None:
            process.join(1)
            if any(other.exitcode not in (None, 0) for other in started):
                raise RuntimeError("a training process has ended; the same command goes on")


def _one(rank: int, processes: int, meeting: Path, train: Callable[[], None]) -> None:
    torch.set_num_threads(1)
    if rank:
        logging.disable()
    if processes > 1:
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=processes
        )
    train()
    if processes > 1:
        distributed.barrier()  # the first is still writing what the others have, too
        distributed.destroy_process_group()


def rank() -> int:
    """This process among those that train together; 0 does the writing."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def part(count: int) -> int:
    """This process's part of a batch."""
    return count // distributed.get_world_size() if distributed.is_initialized() else count


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """The mean over all processes; a parameter that was not used has none in any of them."""
    if not distributed.is_initialized():
        return
    used = [one for one in parameters if one.grad is not None]
    flat = torch.cat([_gradient(one).flatten() for one in used])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for one, mean in zip(used, flat.split([one.numel() for one in used]), strict=True):
        _gradient(one).copy_(mean.view_as(one))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
