"""A real server of OpenAI's protocol on this machine: `transformers serve` with a tiny Llama whose weights are random.

What it answers is noise, in any language; how it answers is the real thing. The fixture ``served`` in ``conftest.py``
starts one process for all tests that ask for it.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import attrs
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

START_S = 180.0
"""Until it answers; a few seconds on an idle machine."""

END, USER, ASSISTANT = "<|end|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}" + USER + "{{ message['content'] }}" + END + "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16_384,
    "tie_word_embeddings": True,
    "dtype": "float32",
}


@attrs.frozen
class Served:
    """A running server."""

    url: str
    """The base URL, which ends in ``/v1``."""
    model: str
    """As the server calls it."""
    log: Path

    @property
    def name(self) -> str:
        """The name that a teacher or verifier takes."""
        return f"{self.url}#{self.model}"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Start the server on a model made in *folder*, and end it with the block."""
    model = folder / "noise"
    make_model(model)
    with serving_model(str(model), folder, dtype="float32") as served:
        yield served


@contextlib.contextmanager
def serving_model(model: str, folder: Path, *, dtype: str) -> Iterator[Served]:
    """Start the server on a *model* of *folder* or elsewhere, with its log in *folder*, and end it with the block."""
    (folder / "cache" / "hub").mkdir(parents=True)  # without it /v1/models is an error 500
    port = _free_port()
    log = folder / "serve.log"
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [str(Path(sys.executable).parent / "transformers"), "serve", model]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", dtype]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/health", log)
            yield Served(f"http://127.0.0.1:{port}/v1", model, log)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def make_model(folder: Path) -> None:
    """A tokenizer of single bytes and a Llama of 20,000 random weights, the same every time: greedy, so that its noise is, too."""
    folder.mkdir()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END, USER, ASSISTANT])
    tokenizer.save(str(folder / "tokenizer.json"))
    vocabulary, end = tokenizer.get_vocab_size(), tokenizer.token_to_id(END)
    special = {"eos_token": END, "pad_token": END, "chat_template": CHAT_TEMPLATE}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **special})
    _write(folder / "config.json", CONFIG | {"vocab_size": vocabulary, "eos_token_id": end, "bos_token_id": None})
    _write(folder / "generation_config.json", {"eos_token_id": end, "pad_token_id": end, "do_sample": False})
    save_file(_weights(vocabulary), folder / "model.safetensors", metadata={"format": "pt"})


def _weights(vocabulary: int) -> dict[str, np.ndarray]:
    hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": (vocabulary, hidden),
        layer + "mlp.gate_proj.weight": (inner, hidden),
        layer + "mlp.up_proj.weight": (inner, hidden),
        layer + "mlp.down_proj.weight": (hidden, inner),
        **{f"{layer}self_attn.{part}_proj.weight": (hidden, hidden) for part in "qkvo"},
    }
    random = np.random.default_rng(0)
    weights = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ["model.norm.weight", layer + "input_layernorm.weight", layer + "post_attention_layernorm.weight"]
    return weights | {name: np.ones(hidden, np.float32) for name in norms}


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen, url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
    raise AssertionError(f"transformers serve did not come up (exit code {process.poll()}):\n{tail}")
