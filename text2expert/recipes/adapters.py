"""An expert's folder as those read it who ask or merge it: what it was trained for, its tokenizer, its weights."""

import json
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

WEIGHTS = "adapter_model.safetensors"

MERGED = "merged.json"
"""Marks the folder of a merged model, which holds what its adapter was trained for."""

HEADROOM = 1.2
"""Of memory over the weights themselves, for the largest layer twice and what else the process holds."""


def read_object(folder: str | None, name: str) -> dict[str, Any]:
    """A JSON file of a folder; empty without a folder, or where another tool made it without that file."""
    path = Path(folder or "", name)
    if not folder or not path.is_file():
        return {}
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def read_training(base: str, adapter: str | None) -> dict[str, Any]:
    """What the adapter was trained with; of a merged model, what its adapter was."""
    if adapter is None and not read_object(base, MERGED):
        return {}
    return read_object(adapter or base, "training_args.json")


def revision_of(adapter: str | None) -> str | None:
    """The commit of the base that the adapter was trained on, where it is known: a branch may have moved on since."""
    revision: str | None = read_object(adapter, "adapter_config.json").get("revision")
    return revision


def load_tokenizer(
    base: str, revision: str | None, adapter: str | None, default_chat_template: str = ""
) -> PreTrainedTokenizerBase:
    """The tokenizer beside the adapter, or the base's where there is none."""
    beside = bool(read_object(adapter, "tokenizer_config.json"))
    tokenizer = AutoTokenizer.from_pretrained(
        adapter if beside else base,
        revision=None if beside else revision,
        trust_remote_code=False,
        padding_side="left",
    )
    if not tokenizer.chat_template:
        tokenizer.chat_template = default_chat_template
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def end_tokens(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig, trained: dict[str, Any]
) -> list[int]:
    """Ids of the tokens that end an answer: the tokenizer's, the base's own, and the one that training wrote last."""
    known = generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, trained.get("stop_token_id"), *(known if isinstance(known, list) else [known])}
    return sorted(ends - {None})


def weights_of(adapter: str) -> Path:
    """The adapter's weights, which are never unpickled."""
    weights = Path(adapter, WEIGHTS)
    if not weights.is_file():
        sys.exit(f"{adapter} holds no {WEIGHTS}: pickled weights (adapter_model.bin) are not loaded; save it again")
    return weights


def attach(base: PreTrainedModel, adapter: str) -> PeftModel:
    """*base* with the adapter on it; a vocabulary that the adapter has enlarged is enlarged here, too."""
    with safe_open(weights_of(adapter), "pt") as file:
        saved = [name for name in file.keys() if name.endswith(("embed_tokens.weight", "lm_head.weight"))]  # noqa: SIM118 - not a dict
        rows = {file.get_slice(name).get_shape()[0] for name in saved}
    if rows and max(rows) != base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(max(rows), mean_resizing=False)  # what is added comes from the adapter
    return PeftModel.from_pretrained(base, adapter)


def size_in_bf16(base: str, revision: str | None) -> int:
    """Bytes of a model's weights in bf16, without loading them; tied ones are counted once."""
    config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return 2 * int(model.num_parameters())


def cpu_precision(size: int) -> str:
    """fp32 where the memory that is free now holds a model of *size* bytes in bf16 in it, else bf16."""
    return "fp32" if 2 * size * HEADROOM < psutil.virtual_memory().available else "bf16"
