"""What an adapter keeps of its input for the backward pass."""

import pytest
from tiny import llama, settings_of, tokenizer_of

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def step(recipes, *, casting):
    """The loss, the adapter's gradients and the bytes kept for them, with PEFT's copies in fp32 or without."""
    import torch

    loading = recipes["loading"]
    tokenizer = tokenizer_of(recipes)
    base = llama(tokenizer, num_key_value_heads=2).to(torch.bfloat16)
    model = loading.add_lora(base, settings_of(recipes), None).train()
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)  # zero would stop the gradients of A
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled") and casting:
            module.cast_input_dtype_enabled = True
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.randint(0, 200, (2, 24), generator=torch.Generator().manual_seed(0))
    with loading.autocast("bf16", torch.device("cpu")), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return loss.item(), gradients, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_inputs_are_not_copied_to_another_type_and_gradients_are_the_same(recipes):
    """PEFT would copy each input to fp32 and autocast back: more memory and time, and not a bit of difference."""
    loss, gradients, kept = step(recipes, casting=False)
    expected_loss, expected_gradients, more = step(recipes, casting=True)
    assert expected_loss == loss
    assert expected_gradients.keys() == gradients.keys()
    assert [name for name, grad in gradients.items() if not grad.equal(expected_gradients[name])] == []
    assert kept < more
