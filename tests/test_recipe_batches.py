"""Batches: which rows make a step, and that neither padding nor cutting changes what is learned."""

import dataclasses
import math
import random

import pytest
from deck import gold
from hypothesis import given
from hypothesis import strategies as st
from tiny import llama, settings_of, tokenizer_of

from text2expert.records import write_jsonl

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def rows_of(recipes, items, lengths):
    return [
        recipes["rows"].Row(item=str(item), question="", prompt="", completion=[0], length=length)
        for item, length in zip(items, lengths, strict=True)
    ]


@given(data=st.data())
def test_an_epoch_has_every_row_once(recipes, data):
    """In full batches but for one, in an order of the seed and the epoch alone."""
    items = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=80))
    lengths = data.draw(st.lists(st.integers(1, 50), min_size=len(items), max_size=len(items)))
    settings = settings_of(recipes, batch_size=data.draw(st.integers(1, 9)))
    rows = rows_of(recipes, items, lengths)
    batches = recipes["batches"].epoch_batches(rows, 3, settings)
    assert sorted(row for batch in batches for row in batch) == list(range(len(items)))
    assert sum(len(batch) < settings.batch_size for batch in batches) <= 1
    assert len(batches) == math.ceil(len(rows) / settings.batch_size)
    assert batches == recipes["batches"].epoch_batches(rows, 3, settings)


def test_wordings_of_an_item_are_kept_apart(recipes):
    """With items enough to fill a batch, none of them meets itself."""
    items = [item for item in range(40) for _ in range(5)]
    rows = rows_of(recipes, items, [random.Random(n).randrange(10, 40) for n in range(200)])
    for batch in recipes["batches"].epoch_batches(rows, 0, settings_of(recipes, batch_size=8)):
        assert len({items[row] for row in batch}) == len(batch)


def test_a_batch_has_rows_of_similar_length(recipes):
    """Padding is what a batch of mixed lengths spends its time on; less than a tenth is left."""
    draw = random.Random(0)
    rows = rows_of(recipes, range(400), [draw.randrange(10, 100) for _ in range(400)])
    batches = recipes["batches"].epoch_batches(rows, 0, settings_of(recipes, batch_size=8))
    padded = sum(len(batch) * max(rows[row].length for row in batch) for batch in batches)
    assert sum(row.length for row in rows) / padded > 0.9


@given(question=st.text(max_size=60), seed=st.integers(0, 1000))
def test_noise_only_drops_and_swaps_words(recipes, question, seed):
    """Nothing is invented, numbers and names stay, and a question never becomes empty."""
    noisy = recipes["batches"].with_noise(question, random.Random(seed)).split()
    words = question.split()
    assert all(noisy.count(word) <= words.count(word) for word in noisy)
    assert bool(noisy) == bool(words)

    def telling(words):
        return sorted(word for word in words if any(c.isdigit() or c.isupper() for c in word))

    assert telling(noisy) == telling(words)


def test_noise_leaves_what_is_quoted(recipes):
    """The name of a column or a section is in quotation marks, and its words are as telling as a number."""
    question = 'what is given under "upper limit of flow" in the table'
    for seed in range(50):
        noisy = recipes["batches"].with_noise(question, random.Random(seed)).split()
        assert {'"upper', "limit", "of", 'flow"'} <= set(noisy)
    assert len({recipes["batches"].with_noise(question, random.Random(seed)) for seed in range(50)}) > 20


@pytest.fixture(scope="module")
def loaded(recipes, tmp_path_factory):
    """A tiny base with adapters that are not zero, its tokenizer, and settings."""
    import torch

    gold_path = tmp_path_factory.mktemp("loaded") / "gold.jsonl"
    write_jsonl(gold_path, gold())
    settings = settings_of(recipes, gold=str(gold_path), batch_size=7, question_noise=0.5)
    tokenizer = tokenizer_of(recipes)
    model = recipes["loading"].add_lora(llama(tokenizer), settings, None)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return model, tokenizer, settings


def test_padding_and_cutting_change_nothing(loaded, recipes):
    """The loss of a step is the mean over its answers' tokens, as if each row had gone through the model alone."""
    import torch

    lora = recipes["lora"]
    model, tokenizer, settings = loaded
    rows = recipes["rows"].read_rows(settings, tokenizer)

    def loss(**more):
        loader = recipes["batches"].Loader(rows, tokenizer, dataclasses.replace(settings, **more), torch.device("cpu"))
        batches = list(loader.micro_batches(2))
        model.zero_grad()
        total = 0.0
        for batch in batches:
            part = lora.loss_of(model, batch)
            part.backward()
            total += part.item()
        gradients = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        return total, gradients, loader, len(batches)

    whole, gradients, loader, pieces = loss()
    cut, cut_gradients, _, cut_pieces = loss(micro_batch_tokens=40)
    assert (pieces, cut_pieces > 2) == (1, True)
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(cut_gradients, gradients, atol=1e-5, rtol=1e-4)

    total, tokens = 0.0, 0
    for number in loader.batches[2]:
        prompt = recipes["rows"].encode(tokenizer, [loader.prompt(number, 0)])[0]
        completion = rows[number].completion
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0]
        targets = torch.tensor(completion)
        total += torch.nn.functional.cross_entropy(logits[len(prompt) - 1 : -1], targets, reduction="sum").item()
        tokens += len(completion)
    assert whole == pytest.approx(total / tokens, rel=1e-5)
