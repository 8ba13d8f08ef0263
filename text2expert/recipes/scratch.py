"""A toy base from the text itself, for machines without weights: tokenizer and a tiny Llama -> base/ ; done.json last.

    python scratch.py stages/base/job.json

The result is an ordinary Hugging Face folder, so that the other recipes treat it as any other base. It learns to
continue the raw text and to write questions. It never sees an answer after its question: what it answers later it has
learned from the golden dataset, in lora.py. It proves that the pipeline trains; it knows no language beyond the text.
"""

import math
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from stage import Stage, choose_threads, read_jsonl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' + message['content'] + '" + END + "' }}"
    "{% else %}{{ '" + USER + "' + message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says."""

    texts: list[str]
    """Files to learn to continue: plain text, or chunks (.jsonl with "text", "document", "start", "end")."""
    gold: str
    """The golden dataset, for its questions; its answers reach the tokenizer only."""
    output: str = "base"
    vocabulary: int = 4096
    hidden: int = 128
    layers: int = 2
    heads: int = 4
    intermediate: int = 384
    window: int = 128
    """Tokens of text in a row."""
    batch_size: int = 16
    passes: int = 12
    """How often the text is read; the cap below wins for long texts."""
    max_tokens: int = 1_500_000
    question_share: float = 0.3
    """Of the rows, how many are questions instead of text."""
    learning_rate: float = 3e-3
    seed: int = 0
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""


def main(job: str) -> None:
    """Make the base that *job* describes."""
    stage = Stage(job)
    settings = Settings(**stage.settings)
    texts = [read_text(path) for path in settings.texts]
    gold = read_jsonl(settings.gold)
    questions = [record["instruction"] for record in gold]
    tokenizer = make_tokenizer([*texts, *questions, *(record["output"] for record in gold)], settings.vocabulary)

    torch.manual_seed(settings.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            intermediate_size=settings.intermediate,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=2048,
            initializer_range=settings.hidden**-0.5,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    loss = pretrain(model, tokenizer, texts, questions, stage)

    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    # Private, also in a run folder that was there before and is open to others.
    Path(settings.output).mkdir(mode=0o700, exist_ok=True)
    model.save_pretrained(settings.output)
    tokenizer.save_pretrained(settings.output)
    for path in Path(settings.output).iterdir():
        path.chmod(0o644)  # safetensors are written for their owner alone; the folder decides who may look in
    stage.finish(loss=loss, parameters=model.num_parameters(), vocabulary=len(tokenizer))


def read_text(path: str) -> str:
    """The text of a file; of a chunks file, its chunks with their overlaps cut off."""
    if not path.endswith(".jsonl"):
        return Path(path).read_text(encoding="utf-8")
    parts = []
    document, end = None, 0
    for chunk in read_jsonl(path):
        start = chunk.get("start", 0)
        if chunk.get("document") != document:
            document, end = chunk.get("document"), 0
            parts.append("\n\n")
        parts.append(chunk["text"][max(0, end - start) :])
        end = max(end, chunk.get("end", 0))
    return "".join(parts)


def make_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of the texts: it can write any character of any script."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, USER, ASSISTANT, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def pretrain(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: list[str], questions: list[str], stage: Stage
) -> float:
    """Train all weights on windows of the texts and on questions; the mean loss of the last tenth."""
    settings = Settings(**stage.settings)
    stream = [token for text in texts for token in [*encode(tokenizer, text), tokenizer.eos_token_id]]
    asked = [encode(tokenizer, f"{USER}{question}{ASSISTANT}")[: settings.window] for question in questions]
    draw = random.Random(settings.seed)

    def row() -> list[int]:
        if asked and (len(stream) < 2 or draw.random() < settings.question_share):
            tokens: list[int] = []
            while len(tokens) < settings.window:  # short rows are joined: there is nothing to confuse in a question
                tokens += draw.choice(asked)
            return tokens[: settings.window]
        start = draw.randrange(max(1, len(stream) - settings.window))
        return stream[start : start + settings.window]

    def batch() -> torch.Tensor:
        rows = [row() for _ in range(settings.batch_size)]
        width = max(len(tokens) for tokens in rows)
        return torch.tensor([tokens + [tokenizer.pad_token_id] * (width - len(tokens)) for tokens in rows])

    def loss_of(tokens: torch.Tensor) -> torch.Tensor:
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        return functional.cross_entropy(
            logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=tokenizer.pad_token_id
        )

    model.train()
    sample = batch()
    draw.seed(settings.seed)
    choose_threads(lambda: loss_of(sample).backward())
    model.zero_grad()
    tokens = min(settings.max_tokens, settings.passes * (len(stream) + sum(map(len, asked)) // 4))
    steps = max(1, math.ceil(tokens / (settings.window * settings.batch_size)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    losses: list[float] = []
    for step in range(steps):
        rate = min(1.0, (step + 1) / max(1, steps // 20)) * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = settings.learning_rate * rate
        loss = loss_of(batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        stage.progress(step + 1, steps, loss=round(losses[-1], 4))
    last = losses[-max(1, steps // 10) :]
    return round(sum(last) / len(last), 4)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Token ids of *text*, nothing added."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


if __name__ == "__main__":
    main(sys.argv[1])
