"""What fits into memory: estimates before anything is loaded, and what to do when it runs out all the same."""

import gc
import math
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.pytorch_utils import Conv1D

BYTES = {"fp32": 4.0, "bf16": 2.0, "nf4": 0.516}
"""Of a weight. nf4: half a byte and, quantised twice, 0.127 bits of scales (QLoRA, arXiv 2305.14314, section 3)."""

KEPT_FREE = 0.08
"""Share of the free memory that is left to fragments and to kernels' own needs."""

LEAST_TOKENS = 1024
"""Tokens of a micro-batch below which a GPU idles: 4-bit weights are unpacked anew for each, for instance. Rather than
go below it, activations are calculated twice, which costs a third more time."""

STEP = 256
"""Sizes of micro-batches are multiples of it, which kernels like."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes that a base takes, estimated from its shape."""

    matrices: int
    """Weights of linear layers, which can be held in four bits."""
    others: int
    """All other weights."""
    adapter: int
    """An adapter in fp32: weights, gradients and two moments."""
    token: int
    """Activations that a training keeps for each token of a micro-batch."""
    token_checkpointed: int
    """The same when each layer's are calculated a second time."""

    def model(self, precision: str) -> int:
        """The weights at rest."""
        wide = BYTES["bf16" if precision == "nf4" else precision]
        return int(self.matrices * BYTES[precision] + self.others * wide)


def needs_of(config: PretrainedConfig, r: int) -> Needs:
    """Estimate from a model without storage of the shape that *config* says.

    Of a token, training keeps what adapters read and what the functions between layers read: in bf16, three bytes for
    each number that a linear layer reads or writes come a tenth above what autograd was seen to hold for Llamas of
    several shapes. Its logits, in bf16, in fp32 and as gradients, come on top.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    head = model.get_output_embeddings()
    linear = [
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
    ]
    matrices = sum(weight.numel() for weight in linear)
    whole = sum(weight.numel() for weight in model.parameters())
    text = config.get_text_config()
    layers, width = text.num_hidden_layers, text.hidden_size
    kept = sum(3 * sum(weight.shape) for weight in linear)
    logits = 12 * text.vocab_size
    return Needs(
        matrices=matrices,
        others=whole - matrices,
        adapter=16 * r * sum(sum(weight.shape) for weight in linear),
        token=kept + logits,
        token_checkpointed=2 * layers * width + kept // layers + logits,
    )


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a training goes into the memory that is free."""

    precision: str
    micro_batch_tokens: int
    activation_checkpointing: bool


def fit(
    needs: Needs, free: float, *, precisions: tuple[str, ...], micro_batch_tokens: int, activation_checkpointing: bool
) -> Fit:
    """The first of *precisions* that leaves room for micro-batches worth their while.

    At worst the last one, with activations calculated twice and micro-batches that may turn out too large: the estimate
    is from above, and `Room` makes them smaller where it must.
    """
    for precision in precisions:
        room = free * (1 - KEPT_FREE) - needs.model(precision) - needs.adapter
        tokens = int(room / (needs.token_checkpointed if activation_checkpointing else needs.token))
        if tokens >= min(LEAST_TOKENS, micro_batch_tokens):
            return Fit(
                precision=precision,
                micro_batch_tokens=min(micro_batch_tokens, _round(tokens)),
                activation_checkpointing=activation_checkpointing,
            )
    tokens = max(STEP, int(room / needs.token_checkpointed))
    return Fit(
        precision=precisions[-1],
        micro_batch_tokens=min(micro_batch_tokens, _round(tokens)),
        activation_checkpointing=True,
    )


def _round(tokens: int) -> int:
    return tokens // STEP * STEP or tokens


class Room:
    """The memory that a training may use at once; less each time it runs out.

    Args:
        micro_batch_tokens: Tokens that go through the model at once.
        activation_checkpointing: Whether activations are calculated twice.
        switch_on: Makes the model calculate its activations twice.
        say: Is told of each change.
    """

    def __init__(
        self,
        *,
        micro_batch_tokens: int,
        activation_checkpointing: bool,
        switch_on: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.micro_batch_tokens = micro_batch_tokens
        self.activation_checkpointing = activation_checkpointing
        self.largest = 0
        """Tokens of the largest micro-batch in the attempt that is going on, as whoever calculates notes them."""
        self._switch_on = switch_on
        self._say = say
        if activation_checkpointing:
            switch_on()

    def attempt(self, calculate: Callable[[], Result]) -> Result:
        """The result of *calculate*, which is called again, with less at once, whenever memory runs out.

        It reads `micro_batch_tokens` each time and begins from nothing.
        """
        while True:
            self.largest = 0
            try:
                return calculate()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                words = str(error).partition("\n")[0]
            # Only here, where the exception no longer holds the frames, is their memory free.
            gc.collect()
            clear_device_cache()
            self.shrink(words)

    def shrink(self, reason: str) -> None:
        """Half the tokens at once; before that gets slow, activations calculated twice.

        Raises:
            SystemExit: One row at a time with activations calculated twice was too much already.
        """
        half = min(self.micro_batch_tokens, self.largest or self.micro_batch_tokens) // 2
        if not self.activation_checkpointing and half < LEAST_TOKENS:
            self.activation_checkpointing = True
            self._switch_on()
            change = "activations are calculated twice from now on"
        elif half:
            self.micro_batch_tokens = half
            change = f"micro-batches hold {half} tokens from now on"
        else:
            sys.exit(
                f"out of memory with one row at a time and activations calculated twice ({reason}): choose "
                "precision='nf4', a smaller base, a smaller r, or a machine with more memory"
            )
        self._say(f"out of memory ({reason}); {change}, and the step is done again")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether *error* says, in the words of any allocator, that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(should_reduce_batch_size(error))


def free_bytes(device: torch.device) -> float:
    """Memory of a GPU that is free now; of a CPU it is not asked."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else math.inf


def peak_gb(device: torch.device) -> float:
    """The most memory used so far, in 10^9 bytes: of the GPU where there is one, else of this process."""
    most = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)
    if device.type == "cuda":
        most = float(torch.cuda.max_memory_allocated(device))
    return round(most / 1e9, 2)
