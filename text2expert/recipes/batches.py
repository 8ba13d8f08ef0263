"""Which rows make a step, and how they become tensors: functions of the seed and the step alone."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator

import torch
from rows import Row, encode
from settings import Settings
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that is not trained on, as in torch's cross entropy."""


class Loader:
    """Batches as a function of the seed and the step alone, so that a run can go on anywhere."""

    def __init__(
        self, rows: list[Row], tokenizer: PreTrainedTokenizerBase, settings: Settings, device: torch.device
    ) -> None:
        self.rows = rows
        self.tokenizer = tokenizer
        self.settings = settings
        self.device = device
        self.per_epoch = math.ceil(len(rows) / settings.batch_size)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self.epoch, self.batches = -1, list[list[int]]()

    def micro_batches(self, step: int) -> Iterator[dict[str, torch.Tensor]]:
        """The rows of a step in pieces that fit, each with the number of trained tokens in the whole step."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, epoch_batches(self.rows, epoch, self.settings)
        chosen = self.batches[index]
        prompts = encode(self.tokenizer, [self.prompt(row, epoch) for row in chosen])
        pairs = sorted(
            zip(prompts, (self.rows[row].completion for row in chosen), strict=True),
            key=lambda pair: -len(pair[0]) - len(pair[1]),
        )
        trained = sum(len(completion) for _, completion in pairs)
        while pairs:
            width = len(pairs[0][0]) + len(pairs[0][1])
            fitting = max(1, self.settings.micro_batch_tokens // width)
            yield self.tensors(pairs[:fitting], trained)
            pairs = pairs[fitting:]

    def prompt(self, row: int, epoch: int) -> str:
        """The prompt of a row, in some epochs with noise on the words of its question."""
        question, prompt = self.rows[row].question, self.rows[row].prompt
        draw = random.Random(f"{self.settings.seed} {epoch} {row}")
        if draw.random() >= self.settings.question_noise:
            return prompt
        return prompt.replace(question, with_noise(question, draw))

    def tensors(self, pairs: list[tuple[list[int], list[int]]], trained: int) -> dict[str, torch.Tensor]:
        """Rows padded on the left, so that the answers are the last columns and only these need logits."""
        width = max(len(prompt) + len(completion) for prompt, completion in pairs)
        answer = max(len(completion) for _, completion in pairs)
        tokens, mask, labels = [], [], []
        for prompt, completion in pairs:
            empty = width - len(prompt) - len(completion)
            tokens.append([self.pad] * empty + prompt + completion)
            mask.append([0] * empty + [1] * (width - empty))
            labels.append([IGNORED] * (answer - len(completion)) + completion)
        batch = {"input_ids": tokens, "attention_mask": mask, "labels": labels, "trained": [trained]}
        return {name: torch.tensor(value, device=self.device) for name, value in batch.items()}


def epoch_batches(rows: list[Row], epoch: int, settings: Settings) -> list[list[int]]:
    """Row numbers in batches of similar length, every row once; wordings of one item far apart where it can be.

    The rows go in rounds: the first wording of every item, then the second ones. A round is shuffled, and each stretch
    of fifty batches of it is sorted by length.
    """
    draw = random.Random(f"{settings.seed} {epoch}")
    shuffled = draw.sample(range(len(rows)), len(rows))
    rounds: dict[int, list[int]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for row in shuffled:
        rounds[seen[rows[row].item]].append(row)
        seen[rows[row].item] += 1
    stretch = 50 * settings.batch_size
    ordered = [
        row
        for members in rounds.values()
        for start in range(0, len(members), stretch)
        for row in sorted(members[start : start + stretch], key=lambda row: rows[row].length)
    ]
    batches = [ordered[start : start + settings.batch_size] for start in range(0, len(ordered), settings.batch_size)]
    draw.shuffle(batches)
    return batches


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
