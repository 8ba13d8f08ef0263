"""Logits and loss where something is trained, and nowhere else.

Of a row of a hundred tokens, thirty are its answer, and a vocabulary has a hundred thousand words: logits of all tokens
would be most of the memory and much of the time of a training.
"""

import inspect
from dataclasses import replace
from typing import Any

import torch
from batches import Batch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

AT_ONCE = 2**26
"""Logits that are held at once: a quarter of a gigabyte in fp32. Beyond it they are calculated in pieces, and again for
their gradients."""


class Scorer:
    """What a causal model thinks of answers.

    The decoder runs, its states are selected where something is trained, and the head turns these into logits. A base
    that does more to its logits than its head does (scales or caps them) is asked through its own forward pass instead;
    which it is, is measured on the first batch.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.base = base
        self.decoder, self.head = base.base_model, base.get_output_embeddings()
        self.direct: bool | None = None
        """Whether decoder and head give the base's own logits; None: not measured yet."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """Cross entropy of what is trained, summed and divided by the trained tokens of the whole step."""
        return self._summed(batch) / batch.trained

    def asked(self, batch: Batch) -> tuple[int, float]:
        """How many rows greedy decoding would write exactly, and the summed cross entropy of all.

        A row is written exactly when each of its tokens is the likeliest one after those before it.
        """
        with torch.no_grad():
            wrong, loss = torch.zeros(batch.rows, device=batch.labels.device), 0.0
            for logits, piece in self._pieces(batch):
                labels = batch.labels[piece]
                wrong.index_add_(0, batch.row[piece], (logits.argmax(-1) != labels).float())
                loss += _cross_entropy(logits, labels).item()
        return int((wrong == 0).sum()), loss

    def logits(self, batch: Batch) -> torch.Tensor:
        """The logits that predict ``batch.labels``."""
        return torch.cat([logits for logits, _ in self._pieces(batch)])

    def _summed(self, batch: Batch) -> torch.Tensor:
        if not self._is_direct(batch):
            return _cross_entropy(self._own_logits(batch), batch.labels)
        states = self._states(batch)
        size = max(1, AT_ONCE // self.head.weight.shape[0])
        if len(states) <= size:
            return _cross_entropy(self.head(states), batch.labels)
        losses: list[torch.Tensor] = [
            checkpoint(self._loss_of_states, piece, labels, use_reentrant=False)
            for piece, labels in zip(states.split(size), batch.labels.split(size), strict=True)
        ]
        return torch.stack(losses).sum()

    def _loss_of_states(self, states: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return _cross_entropy(self.head(states), labels)

    def _pieces(self, batch: Batch) -> Any:
        if not self._is_direct(batch):
            yield self._own_logits(batch), slice(None)
            return
        states = self._states(batch)
        size = max(1, AT_ONCE // self.head.weight.shape[0])
        for start in range(0, len(states), size):
            yield self.head(states[start : start + size]), slice(start, start + size)

    def _states(self, batch: Batch) -> torch.Tensor:
        states: torch.Tensor = self.decoder(**batch.inputs, use_cache=False)[0]
        return states.flatten(0, 1)[batch.kept]

    def _own_logits(self, batch: Batch) -> torch.Tensor:
        """The same through the base's whole forward pass, for the columns where any row is trained."""
        width = batch.inputs["input_ids"].shape[1]
        columns, place = (batch.kept % width).unique(return_inverse=True)
        parameters = inspect.signature(self.base.forward).parameters
        if "logits_to_keep" not in parameters:
            logits: torch.Tensor = self.base(**batch.inputs, use_cache=False).logits
            return logits.flatten(0, 1)[batch.kept]
        logits = self.base(**batch.inputs, use_cache=False, logits_to_keep=columns).logits
        return logits[batch.kept // width, place]

    def _is_direct(self, batch: Batch) -> bool:
        if self.direct is None:
            with torch.no_grad():
                training = {module: module.training for module in self.base.modules()}
                self.base.eval()  # without dropout, which differs from one pass to the next
                few = replace(batch, kept=batch.kept[:64], labels=batch.labels[:64], row=batch.row[:64])
                ours, own = self.head(self._states(few)), self._own_logits(few)
                for module, mode in training.items():
                    module.training = mode
            error = (ours.float() - own.float()).norm() / own.float().norm().clamp(min=1e-12)
            self.direct = bool(error < (1e-4 if ours.dtype == torch.float32 else 1e-2))
        return self.direct


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.float(), labels, reduction="sum")
