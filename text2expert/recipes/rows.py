"""Training examples: lines of a dataset as the base reads them."""

import sys
from dataclasses import dataclass

from chat import completion_of, prompt_of
from settings import Settings
from stage import read_jsonl
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training example: what is given and what is to be answered, as text, and the answer as tokens."""

    item: str
    """Equal for the wordings of one question."""
    question: str
    prompt: str
    completion: list[int]
    length: int
    """Tokens of prompt and completion."""


def read_rows(settings: Settings, tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """The golden dataset as rows; what is too long or has no answer is left out and counted."""
    rows, empty, long = [], 0, 0
    limit = min(settings.max_length, tokenizer.model_max_length)
    for number, record in enumerate(read_jsonl(settings.gold)):
        question = "\n".join(part for part in (record["instruction"], record.get("input", "")) if part)
        answer = record["output"].strip()
        prompt = prompt_of(tokenizer, question, settings.system)
        completion = encode(tokenizer, [completion_of(tokenizer, question, answer, settings.system)])[0]
        length = len(encode(tokenizer, [prompt])[0]) + len(completion)
        if not answer:
            empty += 1
        elif length > limit:
            long += 1
        else:
            item = record.get("item") or str(number)
            rows.append(Row(item=item, question=question, prompt=prompt, completion=completion, length=length))
    if empty or long:
        print(f"left out: {empty} rows without an answer, {long} longer than {limit} tokens")
    if not rows:
        sys.exit(
            f"{settings.gold}: no row has a token to train on ({empty} without an answer, {long} longer than {limit} tokens)"
        )
    return rows


def show_example(row: Row, tokenizer: PreTrainedTokenizerBase) -> None:
    """Print a row as the model sees it, so that anyone can check what is trained."""
    print(f"an example; the loss is taken on the {len(row.completion)} tokens between the marks:")
    print(f"{row.prompt}>>>{tokenizer.decode(row.completion)}<<<", flush=True)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of *texts*; the template has written all special tokens."""
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
