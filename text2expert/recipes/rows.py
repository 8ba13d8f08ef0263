"""Training examples: lines of a dataset as the base reads them, checked before anything is trained."""

import re
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from chat import Turn, control_tokens, conversation_of
from jinja2 import TemplateError
from settings import Settings
from stage import read_jsonl
from target import target_of
from transformers import PreTrainedTokenizerBase

Stream = Literal["gold", "text", "replay", "refusal"]
"""Where a row comes from: the golden dataset; the document's text; what the base knew before; what it says no to."""

STREAMS: tuple[Stream, ...] = get_args(Stream)

HELD_OUT = "asked in validation"
"""Why a row is left out that is meant to be."""

SHOWN = 1200
"""Characters of an example that are printed."""


MARKS = re.compile("[]\"'“”„‘’‚«»‹›.,;:?!¿¡…。、，；：？！؟،؛।()[]")
"""They part and end sentences; signs that can make another question, as of a number below zero, are not among them."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A training example: what is given, and what is to be written after it."""

    stream: Stream = "gold"
    item: str
    """Equal for the wordings of one question."""
    fact: str = ""
    """Equal for the questions on one fact: these are kept apart."""
    document: str = ""
    """That it was taught from."""
    weight: float = 1.0
    """How often it is trained in an epoch, if it is of the golden dataset."""
    question: str = ""
    prompt: str = ""
    """As text; the question in it is at times replaced by a noisy one."""
    given: Sequence[int] = ()
    """The prompt's tokens, on which no loss is taken."""
    completion: Sequence[int]
    """The tokens to train."""
    length: int
    """Tokens of both."""

    @property
    def trained(self) -> int:
        """Tokens that are predicted from something: the very first token of a row without a prompt is not."""
        return len(self.completion) - (not self.prompt and not self.given)


@dataclass(frozen=True, kw_only=True)
class Streams:
    """All rows of a training."""

    gold: list[Row]
    text: list[Row] = field(default_factory=list)
    replay: list[Row] = field(default_factory=list)
    refusal: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    """Asked during training and never trained."""

    def of(self, stream: Stream) -> list[Row]:
        """The rows of *stream*."""
        rows: list[Row] = getattr(self, stream)
        return rows

    def counts(self) -> dict[str, int]:
        """Rows of each stream that has any, and of validation."""
        counts: dict[str, int] = {stream: len(self.of(stream)) for stream in STREAMS}
        counts["validation"] = len(self.validation)
        return {name: count for name, count in counts.items() if count}

    def counted(self) -> str:
        """The same in words."""
        return ", ".join(f"{count} rows of {name}" for name, count in self.counts().items())


def read_streams(
    settings: Settings,
    tokenizer: PreTrainedTokenizerBase,
    window: int | None = None,
    *,
    say: Callable[[str], None] = print,
) -> Streams:
    """Everything that *settings* name, as rows; what cannot be trained is left out and counted.

    Args:
        settings: The files of all streams, and what is trained of a record.
        tokenizer: The base's, with a chat template.
        window: Tokens that the base can read at once, where that is known.
        say: Is told what is lost of a file.

    Raises:
        SystemExit: Nothing is left to train on, an answer would have no end at which generation stops, or the chat
            template changes the text of a question or an answer.
    """
    limit = min(settings.max_length, tokenizer.model_max_length, window or sys.maxsize)
    reader = _Reader(settings, tokenizer, limit, say)
    validation = reader.rows("validation", settings.validation, "gold") if settings.validation else []
    asked = {wording(row.question) for row in validation}
    gold = reader.rows("gold", settings.gold, "gold", without=asked)
    if not gold:
        sys.exit(f"{settings.gold}: no row has a token to train on ({reader.reasons('gold')})")
    replay = reader.rows("replay", settings.replay, "replay", without=asked) if settings.replay else []
    items = {row.item for row in gold}
    refusals = (
        reader.rows("refusals", settings.refusals, "refusal", without=asked, twins=items) if settings.refusals else []
    )
    text = [row for path in settings.texts for row in reader.texts(path)]
    return Streams(gold=gold, text=text, replay=replay, refusal=refusals, validation=validation)


def show_examples(streams: Streams, tokenizer: PreTrainedTokenizerBase, say: Callable[[str], None] = print) -> None:
    """Show the first row of each stream as the model sees it, so that anyone can check what is trained.

    *say* is told that of the golden dataset; the others are for the log.
    """
    for stream in STREAMS:
        for row in streams.of(stream)[:1]:
            show = say if stream == "gold" else print
            title = f"an example ({stream}); the loss is taken on the {row.trained} tokens between the marks:"
            show(f"{title} {_marked(row, tokenizer)}")


def wording(question: str) -> str:
    """*question* without what makes no other question of it: case, marks of sentences and quotations, white space."""
    plain = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(MARKS.sub(" ", plain).split())


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of *texts*; the template has written all special tokens."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids


class _Reader:
    """Reads files of any stream and counts what it leaves out."""

    def __init__(
        self, settings: Settings, tokenizer: PreTrainedTokenizerBase, limit: int, say: Callable[[str], None] = print
    ) -> None:
        self.say = say
        self.settings = settings
        self.tokenizer = tokenizer
        self.limit = limit
        """Tokens of a row."""
        self.control = re.compile("|".join(map(re.escape, control_tokens(tokenizer))) or r"(?!)")
        self.left_out: Counter[tuple[str, str]] = Counter()
        if found := self.control.search(settings.system):
            sys.exit(f"system holds {found[0]!r}, which the base reads as an order and not as text: leave it out")

    def rows(
        self,
        name: str,
        path: str,
        stream: Stream,
        without: AbstractSet[str] = frozenset(),
        twins: AbstractSet[str] | None = None,
    ) -> list[Row]:
        """The questions and answers of a file as rows.

        Args:
            name: Under which rows that are left out are counted.
            path: A JSONL file.
            stream: What the rows are.
            without: Wordings of questions that are left out.
            twins: Items of which one must be a record's twin, where it names one: alone, a refusal would teach to refuse.
        """
        pairs, plain = [], []
        for number, record in enumerate(read_jsonl(path)):
            where = f"{path}, row {number + 1}"
            if not isinstance(record, dict):
                sys.exit(f"{where}: a row is an object in braces, and this is {record!r:.80}")
            if stream == "replay" and "text" in record:
                plain.append(record)
                continue
            if twins is not None and record.get("twin") and record["twin"] not in twins:
                self.left_out[name, "without their answerable twin"] += 1
                continue
            if not _has_form(record):
                forms = '{"instruction", "output"}' + (', {"messages"} or {"text"}' if stream == "replay" else "")
                what = ", all of them texts" + (", messages of role and content" if stream == "replay" else "")
                sys.exit(f"{where}: it has {', '.join(record) or 'nothing'}; a row has the form {forms}{what}")
            pair = self.pair(record, where, f"{stream} {number}", stream, name, without)
            if pair:
                pairs.append(pair)
        prompts = encode(self.tokenizer, [row["prompt"] for row, _ in pairs])
        wholes = encode(self.tokenizer, [row["prompt"] + completion for row, completion in pairs])
        rows = []
        for (fields, completion), given, whole in zip(pairs, prompts, wholes, strict=True):
            # Answering, the base reads the prompt's own tokens. Where they stay the same with the answer behind them,
            # the answer's tokens are those that follow; a tokenizer may begin a text in another way than go on with it.
            stays = whole[: len(given)] == given
            follows = whole[len(given) :] if stays else encode(self.tokenizer, [completion])[0]
            row = Row(
                **fields, given=array("i", given), completion=array("i", follows), length=len(given) + len(follows)
            )
            if self.tokenizer.unk_token_id in row.completion[:-1]:
                self.left_out[name, "with characters that the base's tokenizer does not know"] += 1
            elif row.length > self.limit:
                self.left_out[name, f"longer than {self.limit} tokens"] += 1
            else:
                rows.append(row)
        self.check_ends(rows, path)
        rows += self.plain(plain, name, stream)
        self.report(name, path)
        return rows

    def pair(
        self, record: dict[str, Any], where: str, number: str, stream: Stream, name: str, without: AbstractSet[str]
    ) -> tuple[dict[str, Any], str] | None:
        """The fields of a row and its completion as text; None where it is left out."""
        # What else the base knew, it knew without the expert's system prompt.
        system = "" if stream == "replay" or _has_turns(record) else self.settings.system
        if _has_turns(record):
            # As it was written: with its own system prompt or with none.
            turns = [{"role": turn["role"], "content": turn["content"]} for turn in record["messages"]]
        else:
            question = "\n".join(part for part in (record["instruction"], record.get("input") or "") if part).strip()
            answer = target_of(record, self.settings.reasoning, self.settings.short_answer)
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if not all(isinstance(turn["content"], str) for turn in turns):
            self.left_out[name, "with turns that are no text (calls of tools, pictures)"] += 1
            return None
        question = next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "").strip()
        reason = self.unfit(turns, question, without)
        if reason:
            self.left_out[name, reason] += 1
            return None
        try:
            prompt, completion = conversation_of(self.tokenizer, turns, system)
        except TemplateError as error:  # such as a role that the base does not know
            if stream != "replay":
                known = "give a base or a tokenizer whose chat template can"
                missing = "the tokenizer has no eos_token; set one in its tokenizer_config.json"
                advice = known if self.tokenizer.eos_token else missing
                sys.exit(f"{where}: the base's chat template cannot write it ({error}): {advice}")
            self.left_out[name, "that the base's chat template cannot write"] += 1
            return None
        changed = self.changed(turns, prompt, completion)
        if changed and stream == "replay":  # not the user's own rows
            self.left_out[name, "changed by the chat template"] += 1
            return None
        if changed:
            sys.exit(
                f"{where}: the base's chat template changes the text, so that something else would be trained than is "
                f"asked; {changed}. Give a base or a tokenizer whose chat template writes the text as it is, or change "
                "this row"
            )
        item = str(record.get("item") or number)
        fact = str(record.get("fact") or item)
        document = str(record.get("document") or "")
        fields = {"stream": stream, "item": item, "fact": fact, "document": document, "question": question}
        return {**fields, "weight": self.settings.weights.get(document, 1.0), "prompt": prompt}, completion

    def unfit(self, turns: list[Turn], question: str, without: AbstractSet[str]) -> str:
        """Why a row is not trained; empty when it is."""
        if not turns or turns[-1]["role"] != "assistant" or not turns[-1]["content"].strip() or not question:
            return "without a question or an answer"
        if any(self.control.search(turn["content"]) for turn in turns):
            return "with a control token of the base in their text"
        if wording(question) in without:
            return HELD_OUT
        return ""

    def changed(self, turns: list[Turn], prompt: str, completion: str) -> str:
        """What the template changed, in words; empty where it wrote all turns as they are."""
        for turn in turns[:-1]:
            if turn["content"].strip() not in prompt:
                return f"{turn['content'].strip()!r:.200} is not in {prompt!r:.400}"
        answer = turns[-1]["content"].strip()
        if not completion.strip().startswith(answer):
            return f"the answer {answer!r:.200} is written as {completion!r:.400}"
        return ""

    def check_ends(self, rows: list[Row], path: str) -> None:
        """Exit unless every answer ends with a token at which generation can stop."""
        names = control_tokens(self.tokenizer)
        ends = {*self.tokenizer.convert_tokens_to_ids(names), self.tokenizer.eos_token_id} - {None}
        for row in rows:
            last = row.completion[-1]
            if last in ends:
                continue
            text = self.tokenizer.decode(list(row.completion))
            sys.exit(
                f"{path}: nothing would stop generation after an answer: {text!r:.200} ends with the token "
                f"{self.tokenizer.decode([last])!r}, which is ordinary text"
                + (
                    "; let the chat template end the assistant's turn with "
                    f"{self.tokenizer.eos_token!r}, the tokenizer's eos_token"
                    if self.tokenizer.eos_token
                    else ", and the tokenizer has no eos_token; set one in its tokenizer_config.json"
                )
            )

    def texts(self, path: str) -> list[Row]:
        """The texts of a file as rows, of which all tokens are trained."""
        rows = self.plain(read_jsonl(path), path, "text")
        self.report(path, path)
        return rows

    def plain(self, records: list[dict[str, Any]], name: str, stream: Stream) -> list[Row]:
        """Rows without a template. What is too long is cut into even pieces: a text has no end that must be there.

        What looks like a control token is read letter by letter.
        """
        if not records:
            return []
        for number, record in enumerate(records):
            if not isinstance(record.get("text"), str):
                sys.exit(
                    f'{name}, row {number + 1}: it has {", ".join(record) or "nothing"}; a row has the form {{"text"}}'
                )
        texts = [record["text"].strip() for record in records]
        ids = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        control = set(self.tokenizer.convert_tokens_to_ids(control_tokens(self.tokenizer)))
        begin = self.beginning()
        rows = []
        for number, (record, tokens) in enumerate(zip(records, ids, strict=True)):
            if len(tokens) < 2:
                self.left_out[name, "without text"] += 1
            elif control & set(tokens):
                self.left_out[name, "with a control token of the base in their text"] += 1
            else:
                for place, piece in enumerate(_pieces(tokens, self.limit - len(begin))):
                    item = f"{record.get('item') or f'{name} {number}'} {place}"
                    row = Row(
                        stream=stream,
                        item=item,
                        fact=item,
                        given=begin,
                        completion=array("i", piece),
                        length=len(begin) + len(piece),
                    )
                    rows.append(row)
        return rows

    def beginning(self) -> Sequence[int]:
        """The token with which the base begins a text, where it does."""
        first = self.tokenizer("a", verbose=False)["input_ids"][:1]
        begins = self.tokenizer.bos_token_id is not None and first == [self.tokenizer.bos_token_id]
        return array("i", first if begins else [])

    def report(self, name: str, path: str) -> None:
        """Say what was left out of a file."""
        if reasons := self.reasons(name):
            lost = any(of == name and reason != HELD_OUT for of, reason in self.left_out)
            (self.say if lost else print)(f"left out of {path}: {reasons}")

    def reasons(self, name: str) -> str:
        """What was left out, in words."""
        return ", ".join(f"{count} rows {reason}" for (of, reason), count in self.left_out.items() if of == name)


def _has_form(record: dict[str, Any]) -> bool:
    """Whether *record* is a question and its answer, or turns."""
    if _has_turns(record):
        return all(isinstance(turn, dict) and turn.keys() >= {"role", "content"} for turn in record["messages"])
    more = (record.get(name) or "" for name in ("input", "short_answer", "reasoning"))
    return all(isinstance(text, str) for text in (record.get("instruction"), record.get("output"), *more))


def _has_turns(record: dict[str, Any]) -> bool:
    return isinstance(record.get("messages"), list)


def _pieces(tokens: list[int], size: int) -> Iterator[list[int]]:
    count = -(-len(tokens) // size)
    for piece in range(count):
        yield tokens[piece * len(tokens) // count : (piece + 1) * len(tokens) // count]


def _marked(row: Row, tokenizer: PreTrainedTokenizerBase) -> str:
    given = row.prompt or tokenizer.decode(list(row.given))
    unpredicted = len(row.completion) - row.trained
    given += tokenizer.decode(list(row.completion[:unpredicted]))
    trained = tokenizer.decode(list(row.completion[unpredicted:]))
    if len(given) > SHOWN:
        given = "… " + given[-SHOWN:]
    if len(trained) > SHOWN:
        trained = f"{trained[: SHOWN // 2]} … {trained[-SHOWN // 2 :]}"
    return f"{given}>>>{trained}<<<"
