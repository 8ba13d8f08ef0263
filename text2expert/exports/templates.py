"""Which of LLaMA-Factory's chat templates writes what a base's own writes, as far as the base's name or files say it.

LLaMA-Factory does not apply the chat template of a tokenizer but one of its own by name. An expert is asked with the
tokenizer's, so the two have to agree; where they differ by a system prompt that the base's template adds by itself, that
is given here. `benchmarks/elsewhere.py` compares them, token by token, in LLaMA-Factory's own code.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from text2expert.errors import InputError

OWN = "own"
"""Have LLaMA-Factory (0.9.3 or newer) read the template from the base's tokenizer, instead of naming one of its own."""

PLAIN = "default"
"""For a base without a chat template: questions and answers in plain words, which need no tokens that it never saw."""


@attrs.frozen(kw_only=True)
class Template:
    """A template of LLaMA-Factory, and what makes it agree with the base's own."""

    name: str
    options: Mapping[str, Any] = {}
    """Further lines of its configuration."""
    preamble: str = ""
    """What the base's own template writes before every system prompt."""


_THOUGHTLESS = {"enable_thinking": False}
"""Of a base that can think aloud: an empty thought stands before the answer, as when its expert is asked."""

_LLAMA_DATES = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

_BY_NAME: tuple[tuple[str, Template], ...] = (
    (r"qwen3\.5", Template(name="qwen3_5", options=_THOUGHTLESS)),
    (r"qwen3-.*(instruct-2507|coder)", Template(name="qwen3_nothink")),
    (r"qwen3-(?!.*(thinking|vl|omni|embedding|reranker|next|guard))", Template(name="qwen3", options=_THOUGHTLESS)),
    (r"qwen2\.5-(?!.*(vl|omni|math|audio))", Template(name="qwen")),
    (
        r"qwen(1\.5|2)-(?!.*(vl|audio|math))",
        Template(name="qwen", options={"default_system": "You are a helpful assistant."}),
    ),
    (r"llama-?2-", Template(name="llama2")),
    (r"llama-?3\.[123]-(?!.*vision).*instruct", Template(name="llama3", preamble=_LLAMA_DATES)),
    (r"llama-?3(\.[123])?-(?!.*vision)", Template(name="llama3")),
    (r"ministral-3-", Template(name="ministral3")),
    (r"ministral-|mistral-nemo", Template(name="ministral")),
    (r"mistral-small", Template(name="mistral_small")),
    (r"mistral-7b|mixtral-", Template(name="mistral")),
    (r"gemma-?3-", Template(name="gemma3")),
    (r"gemma-?2-", Template(name="gemma2")),
    (r"gemma-(1\.1-)?[27]b", Template(name="gemma")),
    (r"phi-?4-mini", Template(name="phi4_mini")),
    (r"phi-?4", Template(name="phi4")),
    (r"phi-?3(\.5)?-(?!.*(vision|small))", Template(name="phi")),
    (
        r"smollm2-",
        Template(
            name="smollm2",
            options={"default_system": "You are a helpful AI assistant named SmolLM, trained by Hugging Face"},
        ),
    ),
)
"""The beginning of a base's name, without its owner's -> its template. The first that fits counts."""

_BY_TOKENS: tuple[tuple[str, Template], ...] = (
    ("Cutting Knowledge Date", Template(name="llama3", preamble=_LLAMA_DATES)),
    ("<|start_header_id|>", Template(name="llama3")),
    ("<start_of_turn>", Template(name="gemma3")),
    ("<think>", Template(name="qwen3", options=_THOUGHTLESS)),
    ("You are Qwen", Template(name="qwen")),
    ("<|im_start|>", Template(name="qwen3_nothink")),
)
"""What the chat template in a folder writes -> a template that writes much the same; the first that is found counts.

LLaMA-Factory cannot read some of these from the tokenizer itself. Where one writes something else after all, the
recipe sees it and gives the expert what was trained.
"""

_NAMES = ", ".join(dict.fromkeys(template.name for _, template in _BY_NAME))


def template_of(base: str, name: str | None = None) -> Template | None:
    """The template to train *base* with; None: the one in its tokenizer (`OWN`).

    Args:
        base: A model of the Hugging Face hub or a folder.
        name: The user's choice, which comes first.

    Raises:
        InputError: Nothing is known of a base of the hub.
    """
    known = _of_name(base)
    if name == OWN:
        return None
    if name is not None:
        return known if known is not None and known.name == name else Template(name=name)
    if known is not None:
        return known
    if os.path.isdir(base):
        text = _chat_template(Path(base))
        if not text:
            return Template(name=PLAIN)
        return next((template for token, template in _BY_TOKENS if token in text), None)
    raise InputError(
        f"which of LLaMA-Factory's templates the base {base!r} takes is not known here: name it with template= "
        f"(--template), such as {_NAMES}, {PLAIN} for a base without a chat template, or {OWN!r} to have it read from "
        "the base's tokenizer"
    )


def _of_name(base: str) -> Template | None:
    name = os.path.basename(base.rstrip("/")).casefold().removeprefix("meta-")
    return next((template for pattern, template in _BY_NAME if re.match(pattern, name)), None)


def _chat_template(folder: Path) -> str:
    """The chat template of a model in a folder; empty where it has none."""
    try:
        if (folder / "chat_template.jinja").is_file():
            return (folder / "chat_template.jinja").read_text(encoding="utf-8")
        return str(json.loads((folder / "tokenizer_config.json").read_bytes()).get("chat_template") or "")
    except (OSError, ValueError, AttributeError):
        return ""


CONTROL = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<｜[^｜<>\n]{1,40}｜>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
    r"|<</?SYS>>|</?s>|<(?:bos|eos|pad|unk)>|<(?:start|end)_of_turn>|</?think>"
)
"""Tokens by which models tell turns apart. Other tools read them as such wherever they stand, so that the text of a
document could end its own question; our own training knows the tokenizer and needs no such list."""
