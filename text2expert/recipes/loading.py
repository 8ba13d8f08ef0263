"""The base under an adapter: its precision chosen, loaded, adapted, and recognised again."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from memory import Fit, fit, needs_of
from peft import LoraConfig, PeftModel, get_peft_model
from settings import Settings
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PretrainedConfig, PreTrainedModel

LARGE = 1_000_000_000
"""Bytes of weights beyond which a base is not hashed: every loading of its expert would take seconds longer."""


def base_path(base: str) -> str:
    """The base for ``from_pretrained``; a folder as an absolute path, which PEFT records and others can follow."""
    return os.path.abspath(base) if os.path.isdir(base) else base


def weights_sha256(base: Path) -> str | None:
    """The SHA-256 of a base's weights, by which an expert knows its base again; None when hashing them takes long."""
    weights = base / "model.safetensors"
    if not weights.is_file() or weights.stat().st_size > LARGE:
        return None
    with open(weights, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit_to_train(settings: Settings, device: torch.device, free: float, say: Callable[[str], None]) -> Fit:
    """How to hold the base and how much to calculate at once, so that training fits into *free* bytes; *say* is told."""
    config = _config(settings.base, settings.revision)
    asked = Fit(
        precision=settings.precision,
        micro_batch_tokens=settings.micro_batch_tokens,
        activation_checkpointing=settings.activation_checkpointing,
    )
    if device.type == "cpu":
        precision = "fp32" if settings.precision == "auto" else settings.precision
        print(f"the base is held in {_said(precision, config)}")
        return replace(asked, precision=precision)
    needs = needs_of(config, settings.r)
    chosen = fit(
        needs,
        free,
        precisions=_candidates(settings.precision),
        micro_batch_tokens=settings.micro_batch_tokens,
        activation_checkpointing=settings.activation_checkpointing,
    )
    twice = ", activations calculated twice" if chosen.activation_checkpointing else ""
    say(
        f"the base is held in {_said(chosen.precision, config)}: {needs.model(chosen.precision) / 1e9:.1f} GB and "
        f"{needs.adapter / 1e9:.1f} GB of adapter and optimizer, of {free / 1e9:.1f} GB free (estimated; in bf16 the base "
        f"would take {needs.model('bf16') / 1e9:.1f} GB); micro-batches of {chosen.micro_batch_tokens} tokens{twice}"
    )
    return chosen


def precision_to_ask(base: str, revision: str | None, wanted: str, device: torch.device, free: float) -> str:
    """The precision in which to ask a base: the *wanted* one; for "auto" the best that fits into *free* bytes; printed."""
    config = _config(base, revision)
    chosen = wanted
    if wanted == "auto":
        chosen = "fp32"
    if wanted == "auto" and device.type != "cpu":
        needs = needs_of(config, r=0)
        # Half of what a training keeps of a token is more than keys and values of all layers take.
        at_least = 1024 * needs.token // 2
        fitting = (name for name in _candidates(wanted) if needs.model(name) + at_least < free)
        chosen = next(fitting, _candidates(wanted)[-1])
    print(f"the base is held in {_said(chosen, config)}", flush=True)
    return chosen


def _candidates(wanted: str) -> tuple[str, ...]:
    """Precisions for a GPU, the best first. Cards before 2020 only emulate bf16."""
    if wanted != "auto":
        return (wanted,)
    return ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32", "nf4")


def _said(precision: str, config: PretrainedConfig) -> str:
    if _is_quantised(config):
        return f"its own quantisation ({config.quantization_config.get('quant_method', 'unnamed')})"
    return {"nf4": "nf4, 4 bits a weight quantised twice (QLoRA)"}.get(precision, precision)


def _config(base: str, revision: str | None) -> PretrainedConfig:
    return AutoConfig.from_pretrained(base_path(base), revision=revision, trust_remote_code=False)


def window_of(base: str, revision: str | None) -> int | None:
    """Tokens that a base can read at once; None where it does not say."""
    window: int | None = getattr(_config(base, revision).get_text_config(), "max_position_embeddings", None)
    return window


def _is_quantised(config: PretrainedConfig) -> bool:
    """Whether a base is published in few bits already; it stays as it is."""
    return isinstance(getattr(config, "quantization_config", None), dict)


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """In which numbers are multiplied."""
    emulated = device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.float32 if precision == "fp32" or emulated else torch.bfloat16


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Within it an adapter in fp32 and a base in fewer bits calculate with each other, in `compute_dtype`."""
    dtype = compute_dtype(precision, device)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def load_base(base: str, revision: str | None, precision: str, device: torch.device) -> PreTrainedModel:
    """A frozen model whose weights are held in *precision*: fp32, bf16 or nf4."""
    dtype = compute_dtype(precision, device)
    quantised = precision == "nf4" and not _is_quantised(_config(base, revision))
    # Else a program elsewhere is asked to convert pickled weights, and another revision than this one is loaded.
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    try:
        return _prepared(_loaded(base, revision, dtype, device, quantised=quantised))
    except OSError as error:
        if "safetensors" not in str(error):
            raise
        sys.exit(
            f"{base} holds no weights in safetensors, and pickled ones (.bin) are not loaded, since a pickle can run code: "
            "choose another base, or save it again where you trust it (from_pretrained, save_pretrained)"
        )


def _loaded(
    base: str, revision: str | None, dtype: torch.dtype, device: torch.device, *, quantised: bool
) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(
        base_path(base),
        use_safetensors=True,
        revision=revision,
        trust_remote_code=False,
        dtype=dtype,
        device_map=None if device.type == "cpu" and not quantised else {"": device},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        if quantised
        else None,
    )


def _prepared(model: PreTrainedModel) -> PreTrainedModel:
    for module in model.modules():
        # On CPUs with this instruction an evaluation rearranges the weights, and gradients are wrong from then on.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def add_lora(base: PreTrainedModel, settings: Settings, revision: str | None) -> PeftModel:
    """Adapters on every linear layer but the head; with a base in fewer bits they calculate within `autocast`."""
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
    model = get_peft_model(base, config)
    for module in model.modules():
        # Each would copy its input to fp32, the adapter's own type, from which autocast copies it back.
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
    return model


def calculate_activations_twice(model: PreTrainedModel) -> None:
    """Keep only the inputs of layers for the backward pass, which calculates the rest again."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
