"""What a base knows, in its own words, to be trained again beside the new: job.json -> replay.jsonl ; done.json last.

    python replay.py stages/replay/job.json

A base that is trained on one document forgets others; its own samples among the rows keep most of it. A base
with a chat template writes both turns: its template opens the user's turn, the base goes on as the user would, and then
answers (Magpie: Xu et al., arXiv 2406.08464). As there, instructions are sampled and answers are greedy. A base without
one, or one that cannot write such turns, goes on from the token that begins a text.

Rows: {"instruction", "input", "output"} or {"text"}. Left out and counted: empty ones, instructions and answers that did
not come to an end, loops, broken characters, control tokens within a text, and repeated rows. A base that writes too
little gives a smaller file, and one that writes nothing is an error: the number of attempts is bounded.
"""

import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from accelerate.utils.memory import clear_device_cache
from adapters import end_tokens, load_tokenizer
from chat import completion_of, control_tokens, prompt_of
from loading import autocast, load_base, precision_to_ask
from memory import free_bytes, is_out_of_memory
from stage import Stage, choose_threads
from transformers import GenerationConfig, PreTrainedTokenizerBase

PATIENCE = 128
"""Attempts in a row without a usable sample after which no more are made."""

LONGEST_PERIOD = 32
"""Tokens of a piece that, repeated again and again, makes a loop."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says."""

    base: str
    revision: str | None = None
    precision: Literal["auto", "bf16", "fp32", "nf4"] = "auto"
    """What the base's weights are held in. "auto": on a GPU bf16 where the model fits into its free memory, else nf4; on
    the CPU fp32."""
    output: str = "stages/replay/replay.jsonl"
    form: Literal["auto", "chat", "text"] = "auto"
    """Turns, or plain text; "auto": turns where the base has a chat template and can write them."""
    rows: int
    """How many samples are wanted."""
    tokens: int | None = None
    """Fewer samples are enough where they have so many tokens together; None: their number alone decides. What is not
    among them is hardly kept (docs/training.md), so short ones must be many."""
    attempts: float = 3.0
    """How many may be written at most for each that is wanted."""
    max_new_tokens: int = 512
    """Tokens of an instruction, of an answer and of a text at most; half of the base's window where that is less."""
    temperature: float = 1.0
    """Of instructions and texts, above 0; 1 samples what the base itself would write."""
    top_p: float = 0.95
    """Only the likeliest tokens that have this probability together are sampled (arXiv 1904.09751): a single token of
    the tail spoils a text."""
    batch_size: int = 32
    """Rows that are written at once; halved when memory runs out."""
    default_chat_template: str = ""
    """Not used: a template that the base was not trained with makes it write nothing it knows."""
    seed: int = 0
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""

    def check(self) -> None:
        """Exit with what is wrong about a number.

        Raises:
            SystemExit: It says which, its value and what is allowed.
        """
        for name, least in (("rows", 1), ("tokens", 1), ("attempts", 1), ("max_new_tokens", 1), ("batch_size", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                sys.exit(f"{name} is {getattr(self, name)}: give {least} or more")
        if not self.temperature > 0:
            sys.exit(f"temperature is {self.temperature}: give a number above 0; at 0 all samples would be the same")
        if not 0 < self.top_p <= 1:
            sys.exit(f"top_p is {self.top_p}: give a number above 0 and up to 1")


class Turns(NamedTuple):
    """How a template writes the turns of a user and of the base."""

    opening: str
    """All that stands before the user's words, a system prompt that the template writes by itself included."""
    closing: str
    """What stands behind them, in the form that ends the turn: a control token, or the first line that is not blank."""
    ending: str
    """The control token that ends the base's turn, which need not be the one that ends a text; "" where it is that."""


class Written(NamedTuple):
    """What the base wrote after a prompt."""

    tokens: list[int]
    """Without the token that ended it."""
    text: str
    ended: bool
    """Whether the base ended it; else it was cut."""


class Unusable(NamedTuple):
    """A sample that is not to be trained, and the class under which it is counted."""

    reason: str


Sample = dict[str, str] | Unusable


class Writer:
    """A base that is loaded once and writes many samples."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.batch_size = settings.batch_size
        self.tokenizer = load_tokenizer(settings.base, settings.revision, None)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = precision_to_ask(
            settings.base, settings.revision, settings.precision, device, free_bytes(device)
        )
        self.model = load_base(settings.base, settings.revision, self.precision, device).eval()
        self.control = control_tokens(self.tokenizer)
        self.shape = turns_of(self.tokenizer)
        self.ends = end_tokens(self.tokenizer, self.model.generation_config, {})
        pad = self.tokenizer.pad_token_id
        self.pad = pad if pad is not None else (self.ends or [0])[0]
        window = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
        self.longest = min(settings.max_new_tokens, window // 2)
        self.window = window
        with torch.inference_mode(), autocast(self.precision, self.model.device):
            tokens = torch.full((16, 32), self.pad, device=self.model.device)
            choose_threads(lambda: self.model(input_ids=tokens))

    # -- samples -------------------------------------------------------------------------------------------------------

    def texts(self, number: int, seed: int) -> list[Sample]:
        """Free continuations of the token that begins a text."""
        written = self.write([[self.first_token()]] * number, seed=seed)
        texts = [self.sound(each._replace(text=whole_words(each))) for each in written]
        return [text if isinstance(text, Unusable) else {"text": text} for text in texts]

    def turns(self, number: int, seed: int) -> list[Sample]:
        """Instructions as the base's users give them, and its answers."""
        turn = self.shape
        assert turn is not None
        written = self.write([self.encode(turn.opening)] * number, closing=turn.closing, seed=seed)
        asked = [self.closed(each) for each in written]
        prompts = [prompt_of(self.tokenizer, each, "") for each in asked if isinstance(each, str)]
        answers = iter(self.write(list(map(self.encode, prompts)), closing=turn.ending))
        rows: list[Sample] = []
        for instruction in asked:
            if isinstance(instruction, Unusable):
                rows.append(instruction)
                continue
            answer = self.closed(next(answers))
            if isinstance(answer, Unusable):
                rows.append(answer)
            elif answer == instruction:
                rows.append(Unusable("echoes"))
            else:
                rows.append({"instruction": instruction, "input": "", "output": answer})
        return rows

    def closed(self, written: Written) -> str | Unusable:
        """The text of what came to its end and is sound."""
        return self.sound(written) if written.ended else Unusable("cut")

    def sound(self, written: Written) -> str | Unusable:
        """The text without white space around it, unless it is empty, broken, a loop or holds control tokens."""
        if not any(sign.isalnum() for sign in written.text):
            return Unusable("empty")
        if "\ufffd" in written.text:
            return Unusable("broken characters")
        if any(name in written.text for name in self.control):
            return Unusable("control tokens")
        if loops(written.tokens):
            return Unusable("loops")
        return written.text.strip()

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, prompts: list[list[int]], *, closing: str = "", seed: int | None = None) -> list[Written]:
        """What the base writes after each prompt, up to *closing* or its own end; greedy without a *seed*."""
        if not prompts:
            return []
        closes = self.encode(closing)[:1] if closing in self.control else []
        ends = sorted({*self.ends, *closes})
        width = max(map(len, prompts))
        room = min(self.longest, self.window - width)
        if room < 1:
            return [Written([], "", ended=False) for _ in prompts]
        sampling = {"temperature": self.settings.temperature, "top_p": self.settings.top_p, "top_k": 0}
        # A base's own sampling settings would come back for every value that is not set here.
        self.model.generation_config = GenerationConfig(
            do_sample=seed is not None,
            max_new_tokens=room,
            eos_token_id=ends or None,
            pad_token_id=self.pad,
            **(sampling if seed is not None else {}),
        )
        stop = {} if closes or not closing else {"stop_strings": [closing], "tokenizer": self.tokenizer}
        device = self.model.device
        padded = torch.tensor([[self.pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
        if seed is not None:
            torch.manual_seed(seed)
        with torch.inference_mode(), autocast(self.precision, device):
            written = self.model.generate(input_ids=padded, attention_mask=mask, **stop)[:, width:].tolist()
        return [self._written(tokens, set(ends), closing if stop else "") for tokens in written]

    def _written(self, tokens: list[int], ends: set[int], closing: str) -> Written:
        place = next((n for n, token in enumerate(tokens) if token in ends), len(tokens))
        ended, tokens = place < len(tokens), tokens[:place]
        text = self.decode(tokens)
        if closing and closing in text:
            text, ended = text.partition(closing)[0], True
        return Written(tokens, text, ended=ended)

    def first_token(self) -> int:
        """The token that begins a text.

        Raises:
            SystemExit: The base has none.
        """
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, *self.ends):
            if token is not None:
                return int(token)
        sys.exit(
            f"{self.settings.base} has neither a token that begins a text nor one that ends it, so it cannot write "
            "samples of its own: give a file of general texts as replay, or none"
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of what a template wrote, control tokens included."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, tokens: list[int]) -> str:
        """The text of *tokens*; control tokens show."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def turns_of(tokenizer: PreTrainedTokenizerBase) -> Turns | None:
    """How the template writes turns; None where there is none, or it hides where the user's words end."""
    if not tokenizer.chat_template:
        return None
    question, answer = "7f3b91", "c04de8"  # words that no template writes
    opening, found, behind = prompt_of(tokenizer, question, "").partition(question)
    behind = behind.lstrip()
    if not found or not behind or question in behind:
        return None
    end = completion_of(tokenizer, question, answer, "").rpartition(answer)[2].lstrip()
    return Turns(
        # A space there is the beginning of the user's first word, in the tokenizer's eyes.
        opening=opening.rstrip(" "),
        closing=_control_token(tokenizer, behind) or behind.partition("\n")[0].rstrip(),
        ending=_control_token(tokenizer, end),
    )


def _control_token(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The control token with which *text* begins; "" where there is none."""
    return next((name for name in control_tokens(tokenizer) if text.startswith(name)), "")


def whole_words(written: Written) -> str:
    """A text that was cut up to its last whole word: a window of a longer one, as any text that a base is trained on."""
    if written.ended:
        return written.text
    head, _, _ = written.text.rpartition(" ")
    return (head or written.text).rstrip("\ufffd")  # scripts without spaces have no words to cut


def loops(tokens: Sequence[int]) -> bool:
    """Whether a piece is repeated at least three more times at once, over 16 tokens or more."""
    for period in range(1, LONGEST_PERIOD + 1):
        run = 0
        for place in range(period, len(tokens)):
            run = run + 1 if tokens[place] == tokens[place - period] else 0
            if run >= max(3 * period, 16):
                return True
    return False


@dataclass
class Samples:
    """What was written so far, and what was left out."""

    form: str
    wanted: Settings
    rows: list[dict[str, str]] = field(default_factory=list)
    tokens: int = 0
    attempts: int = 0
    barren: int = 0
    """Attempts since the last usable sample."""
    dropped: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)

    @property
    def enough(self) -> bool:
        """Whether there are as many as are wanted."""
        return len(self.rows) >= self.wanted.rows or self.tokens >= (self.wanted.tokens or sys.maxsize)

    def add(self, sample: Sample, tokens: int) -> None:
        """Take a sample of so many *tokens*, or count why not."""
        self.attempts += 1
        self.barren += 1
        if isinstance(sample, Unusable):
            self.dropped[sample.reason] += 1
            return
        key = " ".join(sample.get("instruction", sample.get("text", "")).casefold().split())
        if key in self.seen:
            self.dropped["repeated"] += 1
            return
        self.seen.add(key)
        self.barren = 0
        self.tokens += tokens
        self.rows.append(sample)

    def __str__(self) -> str:
        left = ", ".join(f"{count} {reason}" for reason, count in sorted(self.dropped.items()))
        return f"{len(self.rows)} of {self.attempts} samples taken; left out: {left or 'none'}"


def collect(stage: Stage, writer: Writer, form: Literal["chat", "text"]) -> Samples:
    """Samples in *form* until there are enough, or no more are to be expected."""
    settings = writer.settings
    samples = Samples(form, settings)
    write = writer.turns if form == "chat" else writer.texts
    most = max(settings.rows, round(settings.rows * settings.attempts))
    while not samples.enough and samples.attempts < most and samples.barren < PATIENCE:
        number = min(writer.batch_size, most - samples.attempts)
        try:
            written = write(number, settings.seed * 1_000_003 + samples.attempts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            written = None
        if written is None:  # only here, where the exception no longer holds the frames, is their memory free
            gc.collect()
            clear_device_cache()
            if number == 1:
                sys.exit(
                    "out of memory with one sample at a time: choose precision='nf4', a smaller base, or replay=False"
                )
            writer.batch_size = number // 2
            print(f"out of memory with {number} samples at once; going on with {writer.batch_size}", flush=True)
            continue
        for sample in written:
            if not samples.enough:
                tokens = 0 if isinstance(sample, Unusable) else sum(map(len, map(writer.encode, sample.values())))
                samples.add(sample, tokens)
        stage.progress(
            len(samples.rows), len(samples.rows) if samples.enough else settings.rows, attempts=samples.attempts
        )
    return samples


def main(job: str) -> None:
    """Write the samples that *job* asks for."""
    stage = Stage(job)
    settings = Settings(**stage.settings)
    settings.check()
    writer = Writer(settings)
    if settings.form == "chat" and writer.shape is None:
        sys.exit(f"{settings.base} has no chat template that shows where a user's turn ends: choose form 'text'")
    form: Literal["chat", "text"] = "chat" if writer.shape and settings.form != "text" else "text"
    samples = collect(stage, writer, form)
    if not samples.rows and form == "chat" and settings.form == "auto":
        print(f"the base writes no turns of its own ({samples}); it goes on with plain text", flush=True)
        samples = collect(stage, writer, "text")
    if not samples.rows:
        sys.exit(
            f"{settings.base} writes no usable samples ({samples}): give a file of general questions and answers or "
            "texts as replay, or none (replay=False)"
        )
    print(str(samples), flush=True)
    if not samples.enough:
        print(f"{settings.rows} were wanted; the base writes no more, so the replay is smaller", flush=True)
    write_jsonl(Path(settings.output), samples.rows)
    stage.finish(
        rows=len(samples.rows),
        wanted=settings.rows,
        attempts=samples.attempts,
        dropped=dict(samples.dropped),
        form=samples.form,
        precision=writer.precision,
        batch_size=writer.batch_size,
    )


def write_jsonl(path: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write *rows* to *path*, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


if __name__ == "__main__":
    main(sys.argv[1])
