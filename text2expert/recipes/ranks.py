"""The processes of one training: what each has calculated, summed up. One process is the simplest case of several.

There is no wrapper around the model: each process calculates its rows of a step, and then the gradients of the adapter,
a few hundred megabytes at most, are summed in one exchange.
"""

import os
import sys

import torch
from accelerate import PartialState
from torch import distributed


class Ranks:
    """This process among its peers, as ``accelerate launch`` started them: NCCL between GPUs, gloo between CPUs."""

    def __init__(self) -> None:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        if 0 < torch.cuda.device_count() < here:
            sys.exit(
                f"{here} processes need as many GPUs, and this machine has {torch.cuda.device_count()}: start fewer"
            )
        state = PartialState(cpu=not torch.cuda.is_available())
        self.device: torch.device = state.device if state.device.type == "cuda" else torch.device("cpu")
        self.rank: int = state.process_index
        self.count: int = state.num_processes

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def add_up(self, *values: float) -> list[float]:
        """Each of *values* summed over all processes."""
        return self._reduced(values, distributed.ReduceOp.SUM)

    def smallest(self, value: float) -> float:
        """The smallest *value* of any process."""
        return self._reduced((value,), distributed.ReduceOp.MIN)[0]

    def _reduced(self, values: tuple[float, ...], how: distributed.ReduceOp) -> list[float]:
        if self.count == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(together, op=how)
        numbers: list[float] = together.tolist()
        return numbers

    def add_gradients(self, weights: list[torch.Tensor]) -> None:
        """Give every process the sum of all gradients; one that had no row counts as zero."""
        if self.count == 1:
            return
        flat = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights])
        distributed.all_reduce(flat)
        for weight, part in zip(weights, flat.split([weight.numel() for weight in weights]), strict=True):
            weight.grad = part.view_as(weight)

    def share(self, weights: list[torch.Tensor]) -> None:
        """Give every process the first one's *weights*."""
        if self.count > 1:
            for weight in weights:
                distributed.broadcast(weight.detach(), src=0)

    def close(self) -> None:
        """Say goodbye, without which the others wait."""
        if self.count > 1:
            distributed.destroy_process_group()
