"""QLoRA on the CPU: a tiny base in 4 bits, trained as a large one is on a GPU."""

import shutil

import pytest
from tiny import settings_of

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def adapted(recipes, base, *, dequantised=False):
    """The base in 4 bits under an adapter whose every weight passes gradients on."""
    import torch

    loading = recipes["loading"]
    model = loading.load_base(str(base), None, "nf4", torch.device("cpu"))
    if dequantised:
        replace_quantised(model)
    model = loading.add_lora(model, settings_of(recipes), None)
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)  # as it is after some steps: zero would stop the gradients of A
    return model


def quantised(model):
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def replace_quantised(model):
    """Put ordinary layers with the weights that the 4 bits stand for in place of the quantised ones."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    for name, module in quantised(model).items():
        weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
        plain = torch.nn.Linear(module.in_features, module.out_features, bias=False, dtype=weight.dtype)
        plain.weight.data.copy_(weight)
        model.set_submodule(name, plain)


def gradients(recipes, model):
    """The loss of some rows, and the adapter's gradients."""
    import torch

    loading = recipes["loading"]
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 200, (4, 24), generator=draw)
    with loading.autocast("nf4", torch.device("cpu")):
        logits = model.train()(input_ids=tokens, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def assert_alike(got, expected):
    """The same loss, and gradients that differ by rounding alone."""
    assert got[0] == pytest.approx(expected[0], abs=1e-4)
    assert got[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        error = (got[1][name] - gradient).norm() / gradient.norm()
        assert error < 0.02, name


def test_pickled_weights_are_not_loaded(recipes, base, tmp_path):
    """Nobody is asked to convert them, either; the message says what to do."""
    import torch

    for path in base.iterdir():
        if path.suffix != ".safetensors":
            shutil.copyfile(path, tmp_path / path.name)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SystemExit, match=r"holds no weights in safetensors, and pickled ones \(\.bin\) are not loaded"):
        recipes["loading"].load_base(str(tmp_path), None, "fp32", torch.device("cpu"))


def test_all_layers_but_the_head_are_in_four_bits_quantised_twice(recipes, base):
    """And calculate in bf16, while the adapter is held in fp32."""
    import torch

    model = adapted(recipes, base)
    layers = quantised(model)
    assert len(layers) == 14
    assert {layer.quant_type for layer in (layer.weight for layer in layers.values())} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers.values())
    assert {layer.compute_dtype for layer in layers.values()} == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}


def test_gradients_are_those_of_the_weights_that_the_bits_stand_for(recipes, base):
    """Against a model of ordinary layers with the same weights."""
    assert_alike(
        gradients(recipes, adapted(recipes, base)), gradients(recipes, adapted(recipes, base, dequantised=True))
    )


def test_an_exam_before_training_does_not_disturb_the_gradients(recipes, base, monkeypatch):
    """On CPUs with a certain instruction the library would rearrange the weights when they are first evaluated."""
    import bitsandbytes.nn.modules as bitsandbytes
    import torch

    monkeypatch.setattr(bitsandbytes, "has_avx512bf16", lambda: True)
    expected = gradients(recipes, adapted(recipes, base))
    model = adapted(recipes, base).eval()
    with torch.no_grad(), recipes["loading"].autocast("nf4", torch.device("cpu")):
        model(input_ids=torch.arange(24).view(2, 12), use_cache=False)
    got = gradients(recipes, model)
    assert got[0] == expected[0]
    assert all(torch.equal(got[1][name], gradient) for name, gradient in expected[1].items())
