"""The rows of a step as tensors, in pieces that fit: packed one after another, or padded beside each other.

Packed rows lie in one sequence. Each begins at position 0, there is no mask and no cache, and attention is told where
they end (attention.py), so that none sees another. Padded rows have their padding behind them, where no token of a
causal model looks; they need no mask either.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from epochs import Epochs, buckets_of, packs_of, part_of
from rows import Row, Streams, encode
from settings import Settings
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Rows that go through the model together."""

    inputs: dict[str, Any]
    """Arguments of the model."""
    kept: torch.Tensor
    """Where something trained is predicted: places in the flattened tokens. Only these need logits."""
    labels: torch.Tensor
    """The tokens that should be predicted there."""
    row: torch.Tensor
    """The number, in this batch, of the row that each of them belongs to."""
    rows: int
    tokens: int
    """Without padding."""
    trained: int
    """Trained tokens of the whole step, over all its batches and processes: the loss is a mean over them."""


class Loader:
    """Batches as a function of the seed and the step alone, so that a run can go on anywhere.

    Args:
        packed: Whether rows are packed; else they are padded beside rows of similar length.
        rank: The number of this process among *world* ones, each of which calculates a part of every step.
    """

    def __init__(
        self,
        streams: Streams,
        tokenizer: PreTrainedTokenizerBase,
        settings: Settings,
        device: torch.device,
        *,
        packed: bool,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.streams = streams
        self.tokenizer = tokenizer
        self.settings = settings
        self.device = device
        self.packed = packed
        self.rank, self.world = rank, world
        self.micro_batch_tokens = settings.micro_batch_tokens
        """Tokens that go through the model at once; may be changed between steps."""
        self.epochs = Epochs(streams, settings, by_length=not packed)
        self.per_epoch = self.epochs.steps

    def micro_batches(self, step: int) -> Iterator[Batch]:
        """This process's rows of a step in pieces that fit; none where it has no rows."""
        rows = self.epochs.step(step)
        trained = sum(row.trained for row in rows)
        mine = part_of(rows, self.rank, self.world)
        return self._batches(self._with_noise(mine, step // self.per_epoch), trained)

    def validation(self) -> Iterator[Batch]:
        """This process's rows of validation."""
        rows = self.streams.validation
        return self._batches(part_of(rows, self.rank, self.world), sum(row.trained for row in rows))

    def _batches(self, rows: list[Row], trained: int) -> Iterator[Batch]:
        groups = (packs_of if self.packed else buckets_of)(rows, self.micro_batch_tokens)
        make = packed if self.packed else padded
        for group in groups:
            yield make(group, trained, self.device)

    def _with_noise(self, rows: list[Row], epoch: int) -> list[Row]:
        """The rows, some with noise on the words of their question; which, and what noise, is drawn anew each epoch."""
        noisy: dict[int, str] = {}
        for place, row in enumerate(rows):
            if row.stream != "gold" or not self.settings.question_noise:
                continue
            draw = random.Random(f"{self.settings.seed} {epoch} {row.item} {row.question}")
            if draw.random() < self.settings.question_noise:
                before, _, behind = row.prompt.rpartition(row.question)  # a system prompt may hold the same words
                noisy[place] = before + with_noise(row.question, draw) + behind
        given = dict(zip(noisy, encode(self.tokenizer, list(noisy.values())), strict=True))
        return [
            Row(
                stream=row.stream,
                item=row.item,
                fact=row.fact,
                prompt=noisy[place],
                given=given[place],
                completion=row.completion,
                length=len(given[place]) + len(row.completion),
            )
            if place in given
            else row
            for place, row in enumerate(rows)
        ]


def packed(rows: Sequence[Row], trained: int, device: torch.device) -> Batch:
    """Rows one after another in one sequence, with what attention needs to keep them apart."""
    lengths = np.array([row.length for row in rows])
    ends = lengths.cumsum()
    starts = ends - lengths
    positions = np.arange(ends[-1]) - np.repeat(starts, lengths)
    bounds = torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))
    inputs = {
        "input_ids": torch.from_numpy(_tokens(rows)).unsqueeze(0),
        "position_ids": torch.from_numpy(positions).unsqueeze(0),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": int(lengths.max()),
        "max_length_k": int(lengths.max()),
    }
    return _batch(rows, starts, inputs, trained, device)


def padded(rows: Sequence[Row], trained: int, device: torch.device) -> Batch:
    """Rows beside each other, padded behind, where no token of a causal model looks."""
    lengths = np.array([row.length for row in rows])
    width = int(lengths.max())
    tokens = np.zeros((len(rows), width), dtype=np.int64)  # any token will do
    tokens[np.arange(width) < lengths[:, None]] = _tokens(rows)
    return _batch(rows, np.arange(len(rows)) * width, {"input_ids": torch.from_numpy(tokens)}, trained, device)


def _batch(
    rows: Sequence[Row], starts: np.ndarray, inputs: dict[str, Any], trained: int, device: torch.device
) -> Batch:
    counts = np.array([row.trained for row in rows])
    ends = starts + [row.length for row in rows]
    before = counts.cumsum() - counts
    # The last token of a row predicts nothing, and what is trained of it ends with it.
    kept = np.arange(counts.sum()) - np.repeat(before, counts) + np.repeat(ends - 1 - counts, counts)
    tensors = {
        "kept": torch.from_numpy(kept),
        "row": torch.from_numpy(np.repeat(np.arange(len(rows)), counts)),
    }
    labels = inputs["input_ids"].flatten()[tensors["kept"] + 1]
    moved = {name: _moved(value, device) for name, value in inputs.items()}
    return Batch(
        inputs=moved,
        kept=_moved(tensors["kept"], device),
        labels=_moved(labels, device),
        row=_moved(tensors["row"], device),
        rows=len(rows),
        tokens=sum(row.length for row in rows),
        trained=trained,
    )


def _tokens(rows: Sequence[Row]) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=np.int64) for row in rows for part in (row.given, row.completion)])


def _moved(value: Any, device: torch.device) -> Any:
    """A tensor on *device*, copied while the GPU still calculates what came before."""
    if not isinstance(value, torch.Tensor) or device.type == "cpu":
        return value
    pinned = value.pin_memory() if device.type == "cuda" else value
    return pinned.to(device, non_blocking=True)


def with_noise(question: str, draw: random.Random) -> str:
    """*question* as a hasty reader might write it: some words missing, two neighbours swapped.

    Words with digits or capitals and words in quotation marks stay: names and numbers tell questions apart that are
    otherwise alike, and without them the answer would be a guess.
    """
    words = question.split()
    kept, quoted = [], False
    for word in words:
        opens = sum(word.count(mark) for mark in '"“”')
        telling = quoted or opens or any(letter.isdigit() or letter.isupper() for letter in word)
        quoted ^= opens % 2 == 1
        if telling or draw.random() > 0.2:
            kept.append(word)
    kept = kept or words
    if len(kept) > 1:
        place = draw.randrange(len(kept) - 1)
        kept[place : place + 2] = reversed(kept[place : place + 2])
    return " ".join(kept)
