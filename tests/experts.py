"""An expert of three facts, and adapters with random weights, for tests of asking, merging and serving."""

from text2expert.records import GoldRecord
from text2expert.runners.local import Local
from text2expert.trainer import Trainer

FACTS = {"Who opens the gate?": "the mate", "When does the pump stop?": "at 20 cm", "What is the limit?": "25 knots"}
REASONED = "What is the limit?"
REASONING = "The masts bend in more wind than that."


def train(folder):
    """A run folder with an expert of the facts, of which it learned the reasoning of one."""
    gold = [
        GoldRecord(instruction=question, output=answer, item=question, reasoning=REASONING * (question == REASONED))
        for question, answer in FACTS.items()
    ]
    Trainer(epochs=150, reasoning="after", runner=Local(threads=1)).train(gold, folder=folder)
    return folder


def random_adapter(recipes, folder, *, tied=False, added=0, **lora):
    """A tiny base in ``folder/base`` and an adapter of random weights in ``folder/expert``; the adapter, on the base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from tiny import llama, tokenizer_of
    from transformers import AutoModelForCausalLM

    tokenizer = tokenizer_of(recipes)
    llama(tokenizer, tie_word_embeddings=tied).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    if added:
        tokenizer.add_tokens([f"<new{number}>" for number in range(added)])
        base.resize_token_embeddings(len(tokenizer))
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", **lora}
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options))
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            size = 0.2 if "lora_" in name else 0.5
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * size)
    model.save_pretrained(folder / "expert")
    tokenizer.save_pretrained(folder / "expert")
    return model.eval()
