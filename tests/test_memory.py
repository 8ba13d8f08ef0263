"""What fits into memory, and what happens when it does not after all."""

import pytest

GIB = 2**30

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def needs(recipes):
    """Of Mistral-7B's shape, with adapters of rank 64."""
    from transformers import MistralConfig

    return recipes["memory"].needs_of(MistralConfig(), 64)


def test_the_weights_of_a_shape_are_counted_exactly(needs):
    """7,241,732,096 weights, as its authors say; two bytes each, or half a byte and its scales where layers are linear."""
    assert needs.matrices + needs.others == 7_241_732_096
    assert needs.model("bf16") == 2 * 7_241_732_096
    assert needs.model("nf4") == pytest.approx(4.1e9, rel=0.03)
    assert needs.adapter == 16 * 167_772_160  # PEFT counts as many for all linear layers at rank 64


@pytest.mark.parametrize(("layers", "kv_heads"), [(2, 2), (4, 8)])
def test_what_a_training_keeps_of_a_token_is_estimated_from_above(recipes, layers, kv_heads):
    """Against the bytes that autograd holds between the forward and the backward pass, weights not counted."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=500, hidden_size=256, intermediate_size=896, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=kv_heads,
    )  # fmt: skip
    model = get_peft_model(
        LlamaForCausalLM(config).to(torch.bfloat16),
        LoraConfig(task_type="CAUSAL_LM", r=16, target_modules="all-linear"),
    )
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    held = {}

    def hold(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    tokens = torch.arange(256).view(1, 256)
    with torch.autograd.graph.saved_tensors_hooks(hold, lambda kept: kept), torch.autocast("cpu", torch.bfloat16):
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    assert loss.isfinite()
    estimate = recipes["memory"].needs_of(config, 16).token * 256
    assert 1 <= estimate / sum(held.values()) < 1.3


@pytest.mark.parametrize(
    ("gib", "precision", "twice"),
    [(8, "nf4", True), (12, "nf4", True), (24, "nf4", False), (40, "bf16", False), (80, "bf16", False)],
)
def test_the_precision_follows_from_the_cards_memory(recipes, needs, gib, precision, twice):
    """bf16 where weights, adapter and a micro-batch worth its while fit; activations twice only where they must."""
    fit = recipes["memory"].fit(
        needs, gib * GIB, precisions=("bf16", "nf4"), micro_batch_tokens=8192, activation_checkpointing=False
    )
    assert (fit.precision, fit.activation_checkpointing) == (precision, twice)
    token = needs.token_checkpointed if twice else needs.token
    assert needs.model(precision) + needs.adapter + fit.micro_batch_tokens * token < gib * GIB


def test_a_smaller_micro_batch_than_asked_for_is_never_made_larger(recipes, needs):
    """What a user chose is a limit."""
    fit = recipes["memory"].fit(
        needs, 80 * GIB, precisions=("bf16", "nf4"), micro_batch_tokens=100, activation_checkpointing=True
    )
    assert (fit.precision, fit.micro_batch_tokens, fit.activation_checkpointing) == ("bf16", 100, True)


def test_what_fits_nowhere_is_tried_as_small_as_can_be(recipes, needs):
    """An estimate may be wrong; the attempt says for sure."""
    fit = recipes["memory"].fit(
        needs, GIB, precisions=("bf16", "nf4"), micro_batch_tokens=8192, activation_checkpointing=False
    )
    assert (fit.precision, fit.micro_batch_tokens, fit.activation_checkpointing) == ("nf4", 256, True)


@pytest.mark.parametrize(
    ("asked", "gib", "has_bf16", "chosen"),
    [
        ("auto", 80, True, "bf16"),
        ("auto", 24, True, "nf4"),
        ("nf4", 80, True, "nf4"),
        ("bf16", 24, True, "bf16"),  # as asked, with activations calculated twice
        ("auto", 80, False, "fp32"),
    ],
)
def test_the_choice_on_a_card_is_said(recipes, tmp_path, monkeypatch, asked, gib, has_bf16, chosen):
    """With what it takes and what is free; a precision that is asked for is not argued with."""
    import torch
    from tiny import settings_of
    from transformers import MistralConfig

    MistralConfig().save_pretrained(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: has_bf16 or including_emulation)
    settings = settings_of(recipes, base=str(tmp_path), precision=asked, r=64)
    said = []
    fit = recipes["loading"].fit_to_train(settings, torch.device("cuda"), gib * GIB, said.append)
    assert fit.precision == chosen
    assert fit.activation_checkpointing == (asked == "bf16")
    size = {"bf16": "14.5", "nf4": "4.1", "fp32": "29.0"}[chosen]
    assert f"{size} GB and 2.7 GB of adapter and optimizer, of {gib * GIB / 1e9:.1f} GB free" in said[0]
    assert "in bf16 the base would take 14.5 GB" in said[0]


def test_on_the_cpu_a_base_is_held_in_fp32_unless_asked_otherwise(recipes, tmp_path):
    """bf16 is slower there; how much memory there is, is not asked."""
    import torch
    from tiny import settings_of
    from transformers import MistralConfig

    MistralConfig().save_pretrained(tmp_path)
    for asked, chosen in (("auto", "fp32"), ("nf4", "nf4")):
        settings = settings_of(recipes, base=str(tmp_path), precision=asked)
        fit = recipes["loading"].fit_to_train(settings, torch.device("cpu"), float("inf"), lambda _: None)
        assert (fit.precision, fit.micro_batch_tokens, fit.activation_checkpointing) == (chosen, 8192, False)


def test_more_processes_than_gpus_are_refused(recipes, monkeypatch):
    """Two on one card would wait for each other for ever."""
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="2 processes need as many GPUs, and this machine has 1: start fewer"):
        recipes["ranks"].Ranks()


CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


def room_of(recipes, tokens, switched, said=None):
    return recipes["memory"].Room(
        micro_batch_tokens=tokens,
        activation_checkpointing=False,
        switch_on=lambda: switched.append(True),
        say=[].append if said is None else said.append,
    )


def test_running_out_of_memory_leads_to_smaller_steps_until_it_fits(recipes):
    """Half the tokens while that is quick, then activations twice, then half again; each change is said."""
    import torch

    switched, tried, said = [], [], []
    room = room_of(recipes, 4096, switched, said)

    def calculate():
        tried.append((room.micro_batch_tokens, bool(switched)))
        if room.micro_batch_tokens > 512:
            raise torch.OutOfMemoryError("CUDA out of memory.") if len(tried) % 2 else RuntimeError(CPU)
        return "done"

    assert room.attempt(calculate) == "done"
    assert tried == [(4096, False), (2048, False), (1024, False), (1024, True), (512, True)]
    assert len(said) == 4
    assert said[-1] == f"out of memory ({CPU}); micro-batches hold 512 tokens from now on, and the step is done again"


def test_it_gives_up_when_one_row_at_a_time_is_too_much(recipes):
    """And says what else there is to choose."""
    import torch

    switched = []
    room = room_of(recipes, 4, switched)
    tried = []

    def calculate():
        tried.append(room.micro_batch_tokens)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(SystemExit, match=r"one row at a time .* precision='nf4', a smaller base"):
        room.attempt(calculate)
    assert tried[-1] == 1
    assert switched == [True]


def test_other_errors_are_not_taken_for_a_lack_of_memory(recipes):
    """A mistake that is repeated with half the rows stays one."""
    tried = []

    def calculate():
        tried.append(True)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        room_of(recipes, 4096, []).attempt(calculate)
    assert tried == [True]
