"""Tiny bases, their tokenizer and the settings of a training, for tests that need no run folder."""

from deck import text


def settings_of(recipes, **more):
    """What job.json of lora.py says, for tests that care about a few settings only."""
    required = {"base": "", "gold": "", "default_chat_template": "", "epochs": 1, "learning_rate": 1e-3}
    return recipes["settings"].Settings(**{**required, "batch_size": 4, "r": 8, "alpha": 8, **more})


def tokenizer_of(recipes):
    """The toy base's tokenizer, made from the deck's text."""
    return recipes["scratch"].make_tokenizer([text()], 512)


def llama(tokenizer, **more):
    """A Llama of two layers with random weights, saved by nobody."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(
        vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, initializer_range=0.2, **{**shape, **more}
    )
    return LlamaForCausalLM(config)


def row_of(recipes, item, *, stream="gold", fact="", length=2, given=None, completion=None):
    """A row that says nothing, of *length* tokens, or of the tokens given."""
    completion = [0] if completion is None else completion
    given = [1] * (length - len(completion)) if given is None else given
    return recipes["rows"].Row(
        stream=stream,
        item=item,
        fact=fact or item,
        given=given,
        completion=completion,
        length=len(given) + len(completion),
    )
