"""Attention for packed rows: each sees itself alone, and nobody builds a mask of all pairs of tokens.

transformers would build one, of which almost everything is masked, and no fast kernel takes it. On a GPU this asks
torch's kernel for sequences of varying length; elsewhere, each row goes through scaled_dot_product_attention by itself,
which is as fast on a CPU.

A base that cannot be packed (its attention does more than this one knows, it remembers by other means than attention, or
it ignores positions) is recognised by its logits: `packs` compares packed rows with the same rows alone.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from batches import Batch, packed, padded
from loss import Scorer
from rows import Row
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "text2expert_packed"
"""Under which transformers knows this attention."""

UNKNOWN = ("softcap", "s_aux", "position_bias")
"""What some bases ask of their attention beyond a scale and a window."""

TAIL = 16
"""Tokens at either end of a row that are compared: a leak shows where a row begins, a wrong window where it ends."""


def packs(scorer: Scorer, rows: Sequence[Row], device: torch.device, wanted: bool | None) -> bool:
    """Whether to pack rows; where it is right, the base uses this attention from now on. What is chosen is printed.

    Args:
        scorer: Asks the base.
        rows: Some of the rows to train, among them the longest: what a base does with long rows alone shows there.
        device: Where the base is.
        wanted: Whether the user asked for it. True also takes the base's own attention, with the mask that transformers
            builds; None takes what is fast; False is not asked twice.
    """
    if wanted is False:
        return False
    base = scorer.base
    if wanted is None and not _has_kernel(base.dtype, device):
        print("rows are not packed: packed attention is fast in bf16 on GPUs of 2020 or later", flush=True)
        return False
    own = base.config._attn_implementation  # noqa: SLF001 - there is no public way to ask
    with _without_dropout(base):
        alone = torch.cat([scorer.logits(_ends(padded([row], 1, device))) for row in rows])
        for name in (NAME, own) if wanted else (NAME,):
            reason = _leaves_apart(scorer, packed(rows, 1, device), alone, name)
            if not reason:
                print(f"rows are packed, with the attention {name}", flush=True)
                return True
            base.set_attn_implementation(own)
    print(f"rows are not packed, but padded beside rows of their length: {reason}", flush=True)
    return False


def _leaves_apart(scorer: Scorer, batch: Batch, alone: torch.Tensor, name: str) -> str:
    """Why packed rows would not get, with the attention *name*, the logits that each gets alone; empty when they do.

    In fewer bits than fp32 two kernels differ by a per cent or so; a leak changes the first tokens of a row entirely.
    """
    try:
        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, mask)
        scorer.base.set_attn_implementation(name)
        together = scorer.logits(_ends(batch))
    except (NotImplementedError, TypeError, ValueError) as error:
        return f"this base cannot be packed ({error})"
    apart = (together.float() - alone.float()).norm(dim=-1) / alone.float().norm(dim=-1).clamp(min=1e-12)
    worst = max(piece.mean().item() for piece in apart.split(TAIL))
    if worst < (1e-3 if together.dtype == torch.float32 else 0.1):
        return ""
    return f"packed, the rows of this base would see each other (logits off by {worst:.2g} of their size)"


def mask(*arguments: Any, attention_mask: torch.Tensor | None = None, q_offset: int = 0, **more: Any) -> Any:
    """No mask for packed rows, whose bounds `attend` knows; what has a mask or a cache of its own gets sdpa's."""
    if attention_mask is None and not q_offset:
        return None
    return sdpa_mask(*arguments, attention_mask=attention_mask, q_offset=q_offset, **more)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within the rows that ``cu_seq_lens_q`` bounds; tensors are [1, heads, tokens, width].

    Raises:
        NotImplementedError: The base asks for something that this attention does not do.
    """
    if cu_seq_lens_q is None:
        if attention_mask is None and query.shape[2] == key.shape[2]:
            attention_mask = _band(query.shape[2], sliding_window, query.device)
        out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **more)
        return out, None
    asked = [name for name in UNKNOWN if more.get(name) is not None]
    if asked or attention_mask is not None or not (more.get("is_causal") or getattr(module, "is_causal", True)):
        raise NotImplementedError(f"packed rows with {', '.join(asked) or 'a mask or bidirectional attention'}")
    window = sliding_window if sliding_window and sliding_window < (max_length_q or 0) else None
    if query.is_cuda and torch.is_autocast_enabled("cuda"):  # as it does for torch's other attention
        query, key, value = (states.to(torch.get_autocast_dtype("cuda")) for states in (query, key, value))
    if _takes_kernel(query, value, dropout):
        kernel = _kernel()
        bounds = {"cu_seq_q": cu_seq_lens_q, "cu_seq_k": cu_seq_lens_q, "max_q": max_length_q, "max_k": max_length_q}
        out = kernel(
            *(states[0].transpose(0, 1) for states in (query, key, value)), **bounds, scale=scaling, window=window
        )
        return out.unsqueeze(0), None
    lengths = cu_seq_lens_q.diff().tolist()
    rows = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    outs = [_alone(*row, window=window, dropout=dropout, scaling=scaling) for row in rows]
    return torch.cat(outs, dim=2).transpose(1, 2).contiguous(), None


def _alone(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    window: int | None,
    dropout: float,
    scaling: float | None,
) -> torch.Tensor:
    band = _band(query.shape[2], window, query.device)
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=band, is_causal=band is None, dropout_p=dropout, scale=scaling, enable_gqa=grouped
    )


@contextlib.contextmanager
def _without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """A model asked twice gives the same answer, and keeps nothing for gradients."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _takes_kernel(query: torch.Tensor, value: torch.Tensor, dropout: float) -> bool:
    """Whether torch's kernel for varying lengths takes these: on a GPU, in 16 bits, with heads of up to 256."""
    fits = query.shape[-1] == value.shape[-1] <= 256 and not dropout
    return query.is_cuda and fits and _has_kernel(query.dtype, query.device)


def _has_kernel(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether packed rows are calculated quickly: on a GPU only by the kernel, elsewhere in any case."""
    if device.type != "cuda":
        return True
    return dtype in (torch.bfloat16, torch.float16) and torch.cuda.get_device_capability(device) >= (8, 0)


@functools.cache
def _kernel() -> Callable[..., torch.Tensor]:
    """Torch's attention for sequences of varying length, causal; its arguments changed between versions."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - not in every build of torch

    known = inspect.signature(varlen_attn).parameters

    def call(query: Any, key: Any, value: Any, *, scale: float | None, window: int | None, **bounds: Any) -> Any:
        if "window_size" in known:  # it counts the tokens before, a window counts the token itself, too
            causal = {"window_size": (window - 1 if window else -1, 0), "enable_gqa": query.shape[1] != key.shape[1]}
        elif window is None:
            causal = {"is_causal": True}
        else:
            raise NotImplementedError("a sliding window in packed rows needs a newer torch")
        return varlen_attn(query, key, value, **bounds, scale=scale, **causal)

    return call


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Which tokens see which in a row that is longer than the window; None: all that came before."""
    if window is None or length <= window:
        return None
    distance = torch.arange(length, device=device).unsqueeze(1) - torch.arange(length, device=device)
    return (distance >= 0) & (distance < window)


def _ends(batch: Batch) -> Batch:
    """*batch*, asked at both ends of each row instead of where something is trained."""
    if "cu_seq_lens_q" in batch.inputs:
        bounds = batch.inputs["cu_seq_lens_q"].tolist()
    else:
        bounds = [0, batch.inputs["input_ids"].shape[1]]
    places = []
    for start, end in pairwise(bounds):
        places += [min(start + n, end - 1) for n in range(TAIL)] + [max(end - 1 - n, start) for n in range(TAIL)]
    kept = torch.tensor(places, device=batch.kept.device)
    return replace(batch, kept=kept, labels=kept, row=kept)
