"""A question and its answer as the base's chat template writes them: the same for training and for answering."""

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase


def prompt_of(tokenizer: PreTrainedTokenizerBase, question: str, system: str) -> str:
    """All that stands before the answer."""
    return _render(tokenizer, [{"role": "user", "content": question}], system, add_generation_prompt=True)


def completion_of(tokenizer: PreTrainedTokenizerBase, question: str, answer: str, system: str) -> str:
    """The answer and the token that ends it."""
    prompt = prompt_of(tokenizer, question, system)
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    whole = _render(tokenizer, turns, system, add_generation_prompt=False).rstrip()
    completion = whole.removeprefix(prompt)
    if completion == whole:  # the template writes a finished turn in another way than an open one
        completion = answer
    if completion.strip() == answer.strip():
        completion += tokenizer.eos_token
    return completion


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], system: str, *, add_generation_prompt: bool
) -> str:
    def render(messages: list[dict[str, str]]) -> str:
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=False,  # for templates that would open a thought; the others ignore it
        )
        return text

    if not system:
        return render(turns)
    try:
        return render([{"role": "system", "content": system}, *turns])
    except TemplateError:  # some bases know no system role; there its words go before the question
        first = {"role": "user", "content": f"{system}\n\n{turns[0]['content']}"}
        return render([first, *turns[1:]])
