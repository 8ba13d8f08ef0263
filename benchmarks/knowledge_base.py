"""The base of benchmarks/knowledge.py: a tiny Llama that knows population A, its language and its questions.

It is an ordinary Hugging Face folder with a tokenizer and a chat template, so that the trainer takes it for any other.
"""

import json
import math
import random
from pathlib import Path

import attrs
import torch
from knowledge_people import ATTRIBUTES, FORMS, QUESTIONS, World, passage, restatement
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, BEGIN, USER, ASSISTANT, END = "<|pad|>", "<|begin|>", "<|user|>", "<|assistant|>", "<|end|>"

CHAT_TEMPLATE = (
    "{{ '" + BEGIN + "' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' + message['content'] + '" + END + "' }}"
    "{% else %}{{ '" + USER + "' + message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


@attrs.frozen(kw_only=True)
class BaseSettings:
    """What the base is and how it learns."""

    vocabulary: int = 1200
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    intermediate: int = 256
    window: int = 128
    batch_size: int = 16
    steps: int = 1000
    learning_rate: float = 4e-3
    question_share: float = 0.5
    seed: int = 0


def make_base(folder: Path, everybody: World, settings: BaseSettings) -> None:
    """Train the base on population A and write it to *folder*."""
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    draw = random.Random(settings.seed)
    tokenizer = make_tokenizer(everybody, settings.vocabulary)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden,
            intermediate_size=settings.intermediate,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=512,
            initializer_range=settings.hidden**-0.5,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(settings.steps):
        rate = min(1.0, (step + 1) / 50) * (0.51 + 0.49 * math.cos(math.pi * step / settings.steps))
        optimizer.param_groups[0]["lr"] = settings.learning_rate * rate
        rows = [window(everybody, tokenizer, draw, settings) for _ in range(settings.batch_size)]
        tokens = torch.tensor(rows)
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 99:
            print(f"base: step {step + 1} of {settings.steps}, loss {loss.item():.3f}", flush=True)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "settings.json").write_text(json.dumps(attrs.asdict(settings), indent=2) + "\n", encoding="utf-8")


def window(
    everybody: World, tokenizer: PreTrainedTokenizerFast, draw: random.Random, settings: BaseSettings
) -> list[int]:
    """A row: texts and questions about population A one after the other, the first one from its beginning."""
    row: list[int] = []
    while len(row) < settings.window + 1:
        person = draw.choice(everybody.known)
        if draw.random() < settings.question_share:
            attribute = draw.choice(ATTRIBUTES)
            question = QUESTIONS[attribute][draw.randrange(FORMS)].format(name=person.name)
            turns = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": f"{person.values[attribute]}."},
            ]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
        else:
            told = passage(person) if draw.random() < 0.2 else restatement(person, draw.randrange(100))
            text = BEGIN + told + END
        row += tokenizer(text, add_special_tokens=False)["input_ids"]
    return row[: settings.window + 1]


def make_tokenizer(everybody: World, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of what is said and asked about population A; it can write everything else in pieces."""
    texts = [restatement(person, number) for person in everybody.known for number in range(5)]
    texts += [
        form.format(name=person.name) for person in everybody.known for forms in QUESTIONS.values() for form in forms
    ]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, BEGIN, USER, ASSISTANT, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # As Llama's: a text without a template begins with this token too.
    bpe.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
