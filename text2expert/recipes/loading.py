"""The base under an adapter: loaded, adapted, and recognised again."""

import hashlib
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from peft import LoraConfig, PeftModel, get_peft_model
from settings import Settings
from transformers import AutoModelForCausalLM, PreTrainedModel

LARGE = 1_000_000_000
"""Bytes of weights beyond which a base is not hashed: every loading of its expert would take seconds longer."""


def base_path(settings: Settings) -> str:
    """The base for ``from_pretrained``; a folder as an absolute path, which PEFT records and others can follow."""
    return os.path.abspath(settings.base) if os.path.isdir(settings.base) else settings.base


def weights_sha256(base: Path) -> str | None:
    """The SHA-256 of a base's weights, by which an expert knows its base again; None when hashing them takes long."""
    weights = base / "model.safetensors"
    if not weights.is_file() or weights.stat().st_size > LARGE:
        return None
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_base(settings: Settings, accelerator: Accelerator) -> PreTrainedModel:
    """The frozen model under the adapter: bf16 on a GPU that has it, else fp32 (bf16 is slower on a CPU)."""
    on_gpu = accelerator.device.type == "cuda"
    return AutoModelForCausalLM.from_pretrained(
        base_path(settings),
        revision=settings.revision,
        trust_remote_code=False,
        dtype=torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32,
        device_map={"": accelerator.device} if on_gpu else None,
    )


def add_lora(base: PreTrainedModel, settings: Settings, revision: str | None) -> PeftModel:
    """Adapters on every linear layer but the head."""
    torch.manual_seed(settings.seed)
    base.config.use_cache = False
    saved = None
    if settings.train_embeddings:
        embeddings = base.get_input_embeddings()
        saved = [name.rpartition(".")[2] for name, module in base.named_modules() if module is embeddings]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.r,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        modules_to_save=saved,
        ensure_weight_tying=bool(saved),
        revision=revision,
    )
    return get_peft_model(base, config)
