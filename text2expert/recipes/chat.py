"""A question and its answer as the base's chat template writes them: the same for training and for answering."""

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

DAY = "26 Jul 2024"
"""What Llama-3.2's template would write today's date for: an expert is asked as it was trained, on any day. It is the day
of Llama-3.1's."""

Turn = dict[str, str]
"""{"role", "content"}, as chat templates take it."""


def prompt_of(tokenizer: PreTrainedTokenizerBase, question: str, system: str) -> str:
    """All that stands before the answer."""
    return _render(tokenizer, [{"role": "user", "content": question}], system, add_generation_prompt=True)


def completion_of(tokenizer: PreTrainedTokenizerBase, question: str, answer: str, system: str) -> str:
    """The answer and the token that ends it."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return conversation_of(tokenizer, turns, system)[1]


def conversation_of(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], system: str) -> tuple[str, str]:
    """All that stands before the last turn, and this turn, the assistant's, with the token that ends it.

    Where the template writes no such token, the tokenizer's end of sequence ends the turn. With neither, the turn ends
    with its text, and whoever reads rows refuses to train on it.
    """
    prompt = _render(tokenizer, turns[:-1], system, add_generation_prompt=True)
    whole = _render(tokenizer, turns, system, add_generation_prompt=False).rstrip()
    answer = turns[-1]["content"].strip()
    if whole.startswith(prompt):
        completion = whole.removeprefix(prompt)
        ends = completion.strip() != answer
    else:  # the template writes a finished turn in another way than an open one: only its end can be used
        end = whole[whole.rfind(answer) + len(answer) :] if answer in whole else ""
        ends = any(token in end for token in control_tokens(tokenizer))
        completion = answer + end if ends else answer
    return prompt, completion if ends else completion + (tokenizer.eos_token or "")


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Texts that the tokenizer reads as an order, not as text, the longest first.

    These are its special tokens and whatever other tokens of their own its chat template writes, such as ``<think>``.
    """
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    added = tokenizer.added_tokens_decoder.values()
    named = {
        str(token.content) for token in added if token.special or (token.content.strip() and token.content in template)
    }
    return sorted(named | set(tokenizer.all_special_tokens), key=lambda token: (-len(token), token))


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], system: str, *, add_generation_prompt: bool
) -> str:
    def render(messages: list[Turn]) -> str:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # for templates that would open a thought; the others ignore it
            date_string=DAY,
        )
        return text

    if not system:
        return render(list(turns))
    try:
        text = render([{"role": "system", "content": system}, *turns])
    except TemplateError:
        text = ""
    if system.strip() in text:
        return text
    # Some bases know no system role, and refuse one or leave it out; there its words go before the question.
    first = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
    return render([first, *turns[1:]])
