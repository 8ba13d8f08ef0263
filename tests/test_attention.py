"""Packed, padded and one by one: the same logits and losses on every attention that runs by default, and no leaks."""

import random

import pytest
from tiny import llama, row_of, settings_of, tokenizer_of

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

WORDS = 100
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {
    "vocab_size": WORDS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
    **SHAPE,
}
GROUPED = {**LLAMA, "num_key_value_heads": 2}
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2, "eos_token_id": 2}
BLOOM = {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}

# Architectures that can be packed, and those among them whose rows are longer than what a layer looks back.
PACKED = {
    "llama": ("Llama", LLAMA),
    "qwen2": ("Qwen2", GROUPED),
    "qwen3": ("Qwen3", {**GROUPED, "head_dim": 8}),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 8}),
    "gpt2": ("GPT2", {**GPT2, "bos_token_id": 1}),
}
# Architectures whose own attention does not keep packed rows apart, or does more than ours knows.
UNPACKED = {
    "bloom": ("Bloom", BLOOM, "would see each other"),  # positions by distance, in the mask
    "mamba": ("Mamba", {**LLAMA, "num_hidden_layers": 1}, "would see each other"),  # remembers without attention
    "gemma2": ("Gemma2", {**GROUPED, "head_dim": 8, "sliding_window": 8}, "softcap"),
}


def model_of(name, shape, attention="sdpa"):
    """A base with random weights, and what asks it."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**shape)
    config._attn_implementation = attention
    suffix = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    return getattr(transformers, f"{name}{suffix}")(config).train()


def rows_of(recipes, lengths=(30, 17, 9, 24)):
    draw = random.Random(0)
    return [
        row_of(
            recipes,
            str(n),
            given=[draw.randrange(3, WORDS) for _ in range(length // 2)],
            completion=[draw.randrange(3, WORDS) for _ in range(length - length // 2)],
        )
        for n, length in enumerate(lengths)
    ]


@pytest.fixture
def device():
    import torch

    return torch.device("cpu")


def all_ways(recipes, model, device):
    """Logits and loss of the same rows: packed, padded, and each alone through the base's own forward pass."""
    import torch

    batches, rows = recipes["batches"], rows_of(recipes)
    scorer = recipes["loss"].Scorer(model.eval())
    trained = sum(row.trained for row in rows)
    with torch.no_grad():
        alone = torch.cat(
            [
                model(input_ids=torch.tensor([[*row.given, *row.completion]]), use_cache=False).logits[
                    0, -row.trained - 1 : -1
                ]
                for row in rows
            ]
        )
        labels = torch.tensor([token for row in rows for token in row.completion])
        expected = torch.nn.functional.cross_entropy(alone, labels).item()
        found = {
            make.__name__: (scorer.logits(batch), scorer.loss(batch).item())
            for make in (batches.packed, batches.padded)
            for batch in (make(rows, trained, device),)
        }
    return found, alone, expected


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("attention", ["sdpa", "eager", "ours"])
@pytest.mark.parametrize("name", PACKED)
def test_packed_padded_and_alone_give_the_same_logits_and_loss(recipes, device, name, attention):
    """To 1e-4 and 1e-3; the reference is the base's own forward pass with the attention that it comes with."""
    import torch

    model = model_of(*PACKED[name], attention="eager" if attention == "eager" else "sdpa")
    if attention == "ours":
        assert recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, None)
        assert model.config._attn_implementation == recipes["attention"].NAME
    found, _, _ = all_ways(recipes, model, device)
    _, alone, expected = all_ways(recipes, model_of(*PACKED[name]), device)
    for logits, loss in found.values():
        torch.testing.assert_close(logits, alone, atol=1e-4, rtol=0)
        assert loss == pytest.approx(expected, abs=1e-3)


def test_packing_is_seen_through_where_it_would_be_wrong(recipes, device, capsys):
    """Such bases are trained on padded rows, to the logits that each row gets alone, and it is said why."""
    import torch

    for name, shape, words in UNPACKED.values():
        model = model_of(name, shape, attention="eager")
        assert not recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, None), name
        said = capsys.readouterr().out
        assert "rows are not packed, but padded beside rows of their length" in said
        assert words in said
        found, alone, _ = all_ways(recipes, model, device)
        torch.testing.assert_close(found["padded"][0], alone, atol=1e-4, rtol=0)


def test_packing_that_was_asked_for_takes_the_bases_own_attention(recipes, device):
    """Gemma 2 caps its scores, which ours does not; transformers' masks keep its rows apart, slower."""
    import torch

    model = model_of(*UNPACKED["gemma2"][:2], attention="eager")
    assert recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, True)
    assert model.config._attn_implementation == "eager"
    found, alone, _ = all_ways(recipes, model, device)
    torch.testing.assert_close(found["packed"][0], alone, atol=1e-4, rtol=0)


def test_packing_that_is_not_wanted_is_not_tried(recipes, device):
    """The base keeps its attention."""
    model = model_of(*PACKED["llama"])
    assert not recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, False)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("extra", "leaks"),
    [
        ({}, False),
        ({"use_cache": True}, True),
        ({"attention_mask": "ones"}, True),
        ({"position_ids": None}, True),
    ],
)
def test_rows_leak_with_a_mask_with_a_cache_or_without_positions(recipes, device, attention, extra, leaks):
    """What the loop passes to a base keeps rows apart; each of these silently joins them."""
    import torch

    rows = rows_of(recipes)
    batch = recipes["batches"].packed(rows, 1, device)
    model = model_of(*PACKED["llama"], attention=attention).eval()
    scorer = recipes["loss"].Scorer(model)
    inputs = {**batch.inputs, "use_cache": False, **extra}
    if extra.get("attention_mask"):
        inputs["attention_mask"] = torch.ones_like(batch.inputs["input_ids"])
    with torch.no_grad():
        together = model(**{key: value for key, value in inputs.items() if value is not None}).logits[0][batch.kept]
        alone = torch.cat([scorer.logits(recipes["batches"].padded([row], 1, device)) for row in rows])
        asked = scorer.logits(batch)
    assert (float((together - alone).abs().max()) > 0.1) == leaks
    torch.testing.assert_close(asked, alone, atol=1e-4, rtol=0)


def test_no_row_of_a_pack_sees_another(recipes, device):
    """Other tokens in the first row change no logit of the others: compared with themselves, to the last bit."""
    import torch

    rows = rows_of(recipes)
    changed = [row_of(recipes, "0", given=[7] * len(rows[0].given), completion=[8] * rows[0].trained), *rows[1:]]
    model = model_of(*PACKED["mistral"]).eval()
    scorer = recipes["loss"].Scorer(model)
    assert recipes["attention"].packs(scorer, rows, device, None)
    with torch.no_grad():
        one, other = (scorer.logits(recipes["batches"].packed(some, 1, device)) for some in (rows, changed))
    first = rows[0].trained
    assert not torch.equal(one[:first], other[:first])
    assert torch.equal(one[first:], other[first:])


@pytest.mark.parametrize("name", ["mistral", "gpt2"])
def test_gradients_through_packed_attention_are_those_of_rows_alone(recipes, device, name):
    """With grouped heads and a window shorter than the rows, and with fused projections; dropout off."""
    import torch

    rows = rows_of(recipes)
    trained = sum(row.trained for row in rows)

    def gradients(packed):
        model = model_of(*PACKED[name]).eval()
        scorer = recipes["loss"].Scorer(model)
        if packed:
            assert recipes["attention"].packs(scorer, rows, device, None)
            scorer.loss(recipes["batches"].packed(rows, trained, device)).backward()
        else:
            for row in rows:
                scorer.loss(recipes["batches"].padded([row], trained, device)).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    torch.testing.assert_close(gradients(True), gradients(False), atol=1e-5, rtol=1e-4)


def test_a_base_that_does_more_to_its_logits_is_asked_itself(recipes, device):
    """Granite divides them; taking its head's output for logits would train something else."""
    import torch

    model = model_of("Granite", {**LLAMA, "logits_scaling": 8.0})
    scorer = recipes["loss"].Scorer(model)
    found, alone, expected = all_ways(recipes, model, device)
    for logits, loss in found.values():
        torch.testing.assert_close(logits, alone, atol=1e-4, rtol=0)
        assert loss == pytest.approx(expected, abs=1e-3)
    scorer.loss(recipes["batches"].packed(rows_of(recipes), 1, device))
    assert scorer.direct is False
    llama_scorer = recipes["loss"].Scorer(model_of(*PACKED["llama"]))
    llama_scorer.loss(recipes["batches"].packed(rows_of(recipes), 1, device))
    assert llama_scorer.direct is True


def test_generation_after_packed_training_is_that_of_the_base(recipes, device):
    """With a cache, padding and a mask, rows go through transformers' sdpa: what is asked in the same process is right."""
    import torch

    rows = rows_of(recipes)
    asked = {
        "input_ids": torch.tensor([[0, 0, 5, 6], [9, 8, 7, 6]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1], [1] * 4]),
    }
    written = []
    for packed in (False, True):
        model = model_of(*PACKED["mistral"]).eval()
        if packed:
            assert recipes["attention"].packs(recipes["loss"].Scorer(model), rows, device, None)
        written.append(model.generate(**asked, max_new_tokens=12, do_sample=False))
    assert torch.equal(*written)


# -- the kernel of a GPU -----------------------------------------------------------------------------------------------


def reference(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False
):
    """What torch's documentation says of varlen_attn, with all pairs of tokens: [tokens, heads, width]."""
    import torch

    assert (max_q, max_k) == (int(cu_seq_q.diff().max()),) * 2
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert enable_gqa or query.shape[1] == key.shape[1]
    outs = []
    for start, end in zip(cu_seq_q.tolist(), cu_seq_q.tolist()[1:], strict=False):
        q, k, v = (states[start:end].transpose(0, 1) for states in (query, key, value))
        k, v = (states.repeat_interleave(len(q) // len(k), dim=0) for states in (k, v))
        distance = torch.arange(end - start)[:, None] - torch.arange(end - start)
        left, right = window_size
        seen = (distance <= left if left >= 0 else distance > -9999) & (-distance <= right if right >= 0 else True)
        scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, float("-inf"))
        outs.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(outs)


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_the_kernel_is_asked_for_what_it_documents(recipes, device, monkeypatch, name):
    """Shapes, bounds, grouped heads and the window by one: with a reference in the kernel's place, the same logits."""
    import torch
    from torch.nn.attention import varlen

    recipes["attention"]._kernel.cache_clear()
    monkeypatch.setattr(varlen, "varlen_attn", reference)
    monkeypatch.setattr(recipes["attention"], "_takes_kernel", lambda *_: True)
    model = model_of(*PACKED[name])
    assert recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, None)
    found, _, _ = all_ways(recipes, model, device)
    _, alone, _ = all_ways(recipes, model_of(*PACKED[name]), device)
    torch.testing.assert_close(found["packed"][0], alone, atol=1e-4, rtol=0)
    recipes["attention"]._kernel.cache_clear()


def test_a_gpu_without_the_kernel_gets_padded_rows(recipes, monkeypatch, capsys):
    """Row by row, packed attention would be slow there."""
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    scorer = recipes["loss"].Scorer(model_of(*PACKED["llama"]))
    assert not recipes["attention"].packs(scorer, rows_of(recipes), torch.device("cuda"), None)
    assert "rows are not packed: packed attention is fast in bf16 on GPUs of 2020 or later" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["qwen3", "mistral"])
def test_the_kernel_on_a_gpu(recipes, name):
    """In bf16, within what two kernels differ by; runs where a GPU is, and no other test stands for it."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here: the kernel itself stays unmeasured")
    gpu = torch.device("cuda")
    model = model_of(*PACKED[name]).to(gpu, torch.bfloat16)
    scorer = recipes["loss"].Scorer(model)
    assert recipes["attention"].packs(scorer, rows_of(recipes), gpu, None)
    rows = rows_of(recipes)
    with torch.no_grad():
        together = scorer.logits(recipes["batches"].packed(rows, 1, gpu))
        alone = torch.cat([scorer.logits(recipes["batches"].padded([row], 1, gpu)) for row in rows])
    assert (together - alone).float().norm() < 0.03 * alone.float().norm()


# -- through the loop --------------------------------------------------------------------------------------------------


def test_an_adapted_base_packs_as_well(recipes, device):
    """PEFT's wrapper passes the bounds of the rows on."""
    tokenizer = tokenizer_of(recipes)
    model = recipes["loading"].add_lora(llama(tokenizer), settings_of(recipes), None)
    assert recipes["attention"].packs(recipes["loss"].Scorer(model), rows_of(recipes), device, None)
