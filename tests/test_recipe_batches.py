"""Batches: which rows make an epoch, a step and a process's part, and that no way of batching changes what is learned."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest
from deck import gold
from hypothesis import given
from hypothesis import strategies as st
from tiny import llama, row_of, settings_of, tokenizer_of

from text2expert.records import write_jsonl

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

STREAMS = ("text", "replay", "refusal")


@st.composite
def streams(draw, recipes):
    """Rows of all streams, facts in several wordings, and settings with shares of them."""
    facts = draw(st.lists(st.integers(0, 9), min_size=1, max_size=60))
    lengths = st.integers(2, 50)
    rows = {"gold": [row_of(recipes, f"gold {n}", fact=str(f), length=draw(lengths)) for n, f in enumerate(facts)]}
    for stream in STREAMS:
        count = draw(st.integers(1, 12))
        rows[stream] = [row_of(recipes, f"{stream} {n}", stream=stream, length=draw(lengths)) for n in range(count)]
    share = st.floats(0, 0.3)
    settings = settings_of(
        recipes,
        batch_size=draw(st.integers(1, 9)),
        text_share=draw(share),
        replay_share=draw(share),
        refusals_share=draw(share),
        seed=draw(st.integers(0, 3)),
    )
    return recipes["rows"].Streams(**rows), settings


def names(rows):
    return [row.item for row in rows]


# -- epochs ------------------------------------------------------------------------------------------------------------


@given(data=st.data(), by_length=st.booleans(), epoch=st.integers(0, 5))
def test_an_epoch_has_every_gold_row_once(recipes, data, by_length, epoch):
    """Whatever else is mixed in; steps are full but for a row, and a function of the seed and the epoch alone."""
    rows, settings = data.draw(streams(recipes))
    epochs = recipes["epochs"].Epochs(rows, settings, by_length=by_length)
    steps = epochs.of(epoch)
    assert sorted(names(rows.gold)) == sorted(row.item for step in steps for row in step if row.stream == "gold")
    assert len(steps) == epochs.steps
    sizes = {len(step) for step in steps}
    assert max(sizes) <= settings.batch_size
    assert max(sizes) - min(sizes) <= 1
    again = recipes["epochs"].Epochs(rows, settings, by_length=by_length)
    again.step(7)
    assert [names(step) for step in steps] == [names(step) for step in again.of(epoch)]
    assert names(steps[-1]) == names(again.step((epoch + 1) * epochs.steps - 1))


@given(weights=st.lists(st.floats(0.05, 6), min_size=1, max_size=8), epochs=st.integers(1, 6), seed=st.integers(0, 3))
def test_a_row_is_trained_as_often_as_its_weight_says(recipes, weights, epochs, seed):
    """Over some epochs, to within one; and every weight of 1 is once in each of them."""
    rows = [replace(row_of(recipes, f"item {n}"), weight=weight) for n, weight in enumerate([*weights, 1.0])]
    made = recipes["epochs"].Epochs(
        recipes["rows"].Streams(gold=rows), settings_of(recipes, seed=seed), by_length=False
    )
    seen = [[row.item for step in made.of(epoch) for row in step] for epoch in range(epochs)]
    for row in rows:
        assert abs(sum(epoch.count(row.item) for epoch in seen) - epochs * row.weight) <= 1
        assert all(math.floor(row.weight) <= epoch.count(row.item) <= math.ceil(row.weight) for epoch in seen)


def test_the_share_of_each_document_is_recorded(recipes):
    rows = [
        replace(row_of(recipes, f"{name} {n}", length=10), document=name, weight=weight)
        for name, count, weight in (("long", 30, 1.0), ("short", 10, 3.0))
        for n in range(count)
    ]
    made = recipes["epochs"].Epochs(recipes["rows"].Streams(gold=rows), settings_of(recipes), by_length=False)
    expected = {"long": {"rows": 30, "weight": 1.0, "share": 0.5}, "short": {"rows": 10, "weight": 3.0, "share": 0.5}}
    assert expected == made.documents(made.steps)


@given(data=st.data())
def test_other_streams_reach_their_shares_and_go_on_where_they_stopped(recipes, data):
    """Over many epochs the shares are those asked for, and no row is seen twice more often than another."""
    rows, settings = data.draw(streams(recipes))
    epochs = recipes["epochs"].Epochs(rows, settings, by_length=False)
    count = 60
    asked = {"text": settings.text_share, "replay": settings.replay_share, "refusal": settings.refusals_share}
    reached = epochs.reached(count * epochs.steps)
    assert sum(reached.values()) == pytest.approx(1, abs=0.001)
    gold_tokens = count * sum(row.length for row in rows.gold)
    assert set(epochs.shares) == {stream for stream, share in asked.items() if share}
    for stream in epochs.shares:
        seen = Counter(row.item for epoch in range(count) for row in epochs.drawn(stream, epoch))
        assert max(seen.values(), default=0) - min((seen[row.item] for row in rows.of(stream)), default=0) <= 1
        # A cycle through the rows that is not complete may hold its longest or its shortest ones.
        tokens = asked[stream] * gold_tokens / (1 - sum(asked.values()))
        mean = sum(row.length for row in rows.of(stream)) / len(rows.of(stream))
        assert seen.total() == pytest.approx(tokens / mean, abs=1)
        assert reached[stream] == pytest.approx(asked[stream], abs=0.001 + 50 * len(rows.of(stream)) / gold_tokens)


def test_streams_are_spread_over_the_epoch(recipes):
    """Mixed in one stage, not one after another: each quarter of the steps holds about a quarter of the texts."""
    rows = recipes["rows"].Streams(
        gold=[row_of(recipes, f"g{n}", fact=str(n // 4), length=20) for n in range(400)],
        text=[row_of(recipes, f"t{n}", stream="text", length=40) for n in range(90)],
    )
    for by_length in (False, True):
        epochs = recipes["epochs"].Epochs(rows, settings_of(recipes, text_share=0.25), by_length=by_length)
        steps = epochs.of(0)
        quarter = len(steps) // 4
        texts = [sum(row.stream == "text" for row in step) for step in steps]
        assert sum(texts) == 66  # a quarter of the tokens, in rows of twice the length
        assert min(sum(texts[start : start + quarter]) for start in range(0, 4 * quarter, quarter)) >= 8


def test_wordings_of_a_fact_are_kept_apart(recipes):
    """With facts enough to fill a step, none of them meets itself."""
    draw = random.Random(0)
    rows = [row_of(recipes, f"{n}", fact=str(n // 5), length=draw.randrange(10, 40)) for n in range(200)]
    streams = recipes["rows"].Streams(gold=rows)
    for by_length in (False, True):
        for step in recipes["epochs"].Epochs(streams, settings_of(recipes, batch_size=8), by_length=by_length).of(0):
            assert len({row.fact for row in step}) == len(step)


def test_padded_steps_have_rows_of_similar_length(recipes):
    """Padding is what a step of mixed lengths spends its time on; less than a tenth is left."""
    draw = random.Random(0)
    rows = [row_of(recipes, str(n), length=draw.randrange(10, 100)) for n in range(400)]
    epochs = recipes["epochs"].Epochs(
        recipes["rows"].Streams(gold=rows), settings_of(recipes, batch_size=8), by_length=True
    )
    padded = sum(len(step) * max(row.length for row in step) for step in epochs.of(0))
    assert sum(row.length for row in rows) / padded > 0.9


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"text_share": 1.0}, "the share of the text stream is 1.0: give a number from 0 up to, and without, 1"),
        ({"replay_share": -0.1}, "the share of the replay stream is -0.1"),
        ({"text_share": 0.5, "replay_share": 0.5}, "leave nothing to the golden dataset"),
        ({"refusals_share": math.nan}, "the share of the refusal stream is nan"),
    ],
)
def test_shares_that_cannot_be(recipes, shares, words):
    """A share is a number from 0 to 1, and together they leave something to the golden dataset."""
    rows = {stream: [row_of(recipes, stream, stream=stream)] for stream in ("gold", *STREAMS)}
    with pytest.raises(SystemExit, match=words):
        recipes["epochs"].shares_of(recipes["rows"].Streams(**rows), settings_of(recipes, **shares))


def test_a_share_of_nothing_is_said(recipes, capsys):
    """A stream without rows gives nothing, and the others keep their shares."""
    rows = recipes["rows"].Streams(gold=[row_of(recipes, "a")], replay=[row_of(recipes, "b", stream="replay")])
    settings = settings_of(recipes, text_share=0.2, replay_share=0.1)
    assert recipes["epochs"].shares_of(rows, settings) == {"replay": 0.1}
    assert "the text stream has no rows: its share of 0.2 goes to the others" in capsys.readouterr().out


# -- packs, buckets, processes -----------------------------------------------------------------------------------------

ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), max_size=40)


@given(facts=ROWS, capacity=st.integers(1, 100))
def test_no_fact_is_twice_in_a_packed_row(recipes, facts, capacity):
    """Every row is in one pack, a pack is no longer than it may be, and a row that is longer is alone."""
    rows = [row_of(recipes, str(n), fact=str(fact), length=length) for n, (fact, length) in enumerate(facts)]
    packs = recipes["epochs"].packs_of(rows, capacity)
    assert sorted(names(rows)) == sorted(row.item for pack in packs for row in pack)
    for pack in packs:
        assert len({row.fact for row in pack}) == len(pack)
        assert sum(row.length for row in pack) <= capacity or len(pack) == 1


@given(facts=ROWS, capacity=st.integers(1, 100))
def test_buckets_fit_with_their_padding(recipes, facts, capacity):
    """Every row is in one bucket, which padded is no larger than it may be, or a row alone."""
    rows = [row_of(recipes, str(n), length=length) for n, (_, length) in enumerate(facts)]
    buckets = recipes["epochs"].buckets_of(rows, capacity)
    assert sorted(names(rows)) == sorted(row.item for bucket in buckets for row in bucket)
    for bucket in buckets:
        assert len(bucket) * max(row.length for row in bucket) <= capacity or len(bucket) == 1


@given(facts=ROWS, world=st.integers(1, 5))
def test_processes_share_the_rows_of_a_step(recipes, facts, world):
    """Each row is calculated by one process, and none has more to do than another by more than a row."""
    rows = [row_of(recipes, str(n), length=length) for n, (_, length) in enumerate(facts)]
    parts = [recipes["epochs"].part_of(rows, rank, world) for rank in range(world)]
    assert sorted(names(rows)) == sorted(row.item for part in parts for row in part)
    work = [sum(row.length for row in part) for part in parts]
    assert max(work) - min(work) <= max((row.length for row in rows), default=0)


# -- noise -------------------------------------------------------------------------------------------------------------


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


# -- the loss of a step ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(recipes, tmp_path_factory):
    """A tiny base with adapters that are not zero, what asks it, rows of two streams, and the tokenizer."""
    import torch

    folder = tmp_path_factory.mktemp("loaded")
    write_jsonl(folder / "gold.jsonl", gold())
    (folder / "text.jsonl").write_text(
        '{"text": "The bilge pump is checked by the mate, and the fire door by night."}\n'
    )
    settings = settings_of(recipes, gold=str(folder / "gold.jsonl"), texts=[str(folder / "text.jsonl")])
    tokenizer = tokenizer_of(recipes)
    model = recipes["loading"].add_lora(llama(tokenizer, num_key_value_heads=2), settings, None)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    scorer = recipes["loss"].Scorer(model)
    streams = recipes["rows"].read_streams(settings, tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *_, **__: None)
        assert recipes["attention"].packs(scorer, streams.gold[:3], torch.device("cpu"), None)
    return scorer, streams, tokenizer


def calculated(recipes, loaded, step=2, rank=0, world=1, packed=True, **more):
    """Loss and gradients of a step, and the number of its batches."""
    import torch

    scorer, streams, tokenizer = loaded
    settings = settings_of(recipes, batch_size=7, question_noise=0.5, text_share=0.3, **more)
    loader = recipes["batches"].Loader(
        streams, tokenizer, settings, torch.device("cpu"), packed=packed, rank=rank, world=world
    )
    scorer.base.zero_grad()
    total, batches = 0.0, 0
    for batch in loader.micro_batches(step):
        loss = scorer.loss(batch)
        loss.backward()
        total, batches = total + loss.item(), batches + 1
    weights = [weight for name, weight in scorer.base.named_parameters() if "lora" in name]
    gradients = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights])
    return total, gradients, batches


def one_by_one(recipes, loaded, packed, step=2):
    """The mean loss over the trained tokens of a step whose rows go through the base's own forward pass alone."""
    import torch

    scorer, streams, tokenizer = loaded
    settings = settings_of(recipes, batch_size=7, question_noise=0.5, text_share=0.3)
    loader = recipes["batches"].Loader(streams, tokenizer, settings, torch.device("cpu"), packed=packed)
    total, tokens = 0.0, 0
    for row in loader._with_noise(loader.epochs.step(step), step // loader.per_epoch):
        whole = torch.tensor([[*row.given, *row.completion]])
        logits = scorer.base(input_ids=whole).logits[0, -row.trained - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits, whole[0, -row.trained :], reduction="sum").item()
        tokens += row.trained
    return total / tokens


@pytest.mark.parametrize("packed", [True, False])
def test_packing_padding_and_cutting_change_nothing(loaded, recipes, packed):
    """The loss of a step is the mean over its trained tokens, as if each row had gone through the model alone."""
    import torch

    whole, gradients, pieces = calculated(recipes, loaded, packed=packed)
    assert whole == pytest.approx(one_by_one(recipes, loaded, packed), rel=1e-5)
    cut, cut_gradients, cut_pieces = calculated(recipes, loaded, packed=packed, micro_batch_tokens=40)
    assert cut_pieces > pieces
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(cut_gradients, gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("world", [2, 3, 9])
def test_processes_together_have_the_gradients_of_one(loaded, recipes, world):
    """Summed over any number of processes, some of which may have no row of a step at all."""
    import torch

    whole, gradients, _ = calculated(recipes, loaded)
    parts = [calculated(recipes, loaded, rank=rank, world=world) for rank in range(world)]
    assert sum(loss for loss, *_ in parts) == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(sum(part for _, part, _ in parts), gradients, atol=1e-5, rtol=1e-4)
    assert all(batches for *_, batches in parts) == (world < 7)


def test_many_logits_are_calculated_in_pieces(loaded, recipes, monkeypatch):
    """To the same loss and gradients."""
    import torch

    whole, gradients, _ = calculated(recipes, loaded)
    monkeypatch.setattr(recipes["loss"], "AT_ONCE", 5 * loaded[0].head.weight.shape[0])
    shapes = []
    hook = loaded[0].head.register_forward_hook(lambda _, __, logits: shapes.append(len(logits)))
    pieces, piece_gradients, _ = calculated(recipes, loaded)
    hook.remove()
    assert max(shapes) == 5
    assert pieces == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(piece_gradients, gradients, atol=1e-5, rtol=1e-4)


def test_only_what_is_trained_gets_logits(loaded, recipes):
    """The head sees one state for each trained token, and no other."""
    import torch

    scorer, streams, _ = loaded
    sizes = []
    hook = scorer.head.register_forward_hook(lambda _, __, logits: sizes.append(logits.numel() // logits.shape[-1]))
    for make in (recipes["batches"].packed, recipes["batches"].padded):
        scorer.loss(make(streams.gold[:5], 1, torch.device("cpu")))
    hook.remove()
    assert sizes == [sum(row.trained for row in streams.gold[:5])] * 2


def test_an_answer_is_right_when_greedy_decoding_would_write_it(loaded, recipes):
    """Exactly; a row with one token that is not the likeliest is wrong, and each counts in the loss."""
    import torch

    scorer, streams, _ = loaded
    made = []
    for row in streams.gold[:4]:
        tokens = list(row.given)
        with torch.no_grad():
            for _ in range(4):
                tokens.append(int(scorer.base(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        made.append((row, tokens[len(row.given) :]))
    rows = [
        row_of(recipes, row.item, given=row.given, completion=written if n != 1 else [*written[:2], 5, written[3]])
        for n, (row, written) in enumerate(made)
    ]
    assert made[1][1][2] != 5
    for make in (recipes["batches"].packed, recipes["batches"].padded):
        batch = make(rows, 16, torch.device("cpu"))
        right, loss = scorer.asked(batch)
        assert right == 3
        assert loss == pytest.approx(16 * scorer.loss(batch).item(), rel=1e-5)


def test_validation_is_asked_once_by_all_processes_together(loaded, recipes):
    """Each process asks its part, without noise."""
    import torch

    _, streams, tokenizer = loaded
    held = recipes["rows"].Streams(gold=streams.gold[:4], validation=streams.gold[4:])
    settings = settings_of(recipes, question_noise=1.0, micro_batch_tokens=60)
    seen = 0
    for rank in range(3):
        loader = recipes["batches"].Loader(
            held, tokenizer, settings, torch.device("cpu"), packed=True, rank=rank, world=3
        )
        batches = list(loader.validation())
        seen += sum(batch.tokens for batch in batches)
        assert {batch.trained for batch in batches} == {sum(row.trained for row in held.validation)}
    assert seen == sum(row.length for row in held.validation)
