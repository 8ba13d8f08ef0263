"""What Ollama needs to know of a model, as a Modelfile.

Ollama has a template language of its own, and guesses the template of a model only where it knows it. So here the
expert's chat template writes one turn with Ollama's marks in the places of system prompt, question and answer.
"""

from typing import Any

from chat import completion_of, prompt_of
from transformers import PreTrainedTokenizerBase

SYSTEM, QUESTION, ANSWER = "{{ .System }}", "{{ .Prompt }}", "{{ .Response }}"


def modelfile(tokenizer: PreTrainedTokenizerBase, ends: list[int], trained: dict[str, Any], weights: str = ".") -> str:
    """The Modelfile of an expert whose answers end with one of the tokens *ends*.

    Args:
        tokenizer: With the expert's chat template.
        ends: Ids of the tokens that end an answer.
        trained: What it was trained with: its system prompt, and the tokens of its longest answer.
        weights: A GGUF file or a folder, relative to the Modelfile.
    """
    system, without = trained.get("system"), _prompt(tokenizer, "")
    if system and system in without:  # a template made for the prompt that was trained, which holds it
        system, with_system = None, without
    else:
        with_system = _prompt(tokenizer, SYSTEM)
    # The answer stands once and last: Ollama cuts the template there for the turn that it is to write. What space comes
    # before it, the model writes itself.
    answer = completion_of(tokenizer, QUESTION, ANSWER, "").lstrip()
    template = f"{{{{ if .System }}}}{with_system}{{{{ else }}}}{without}{{{{ end }}}}{answer}"
    lines = [f"FROM {weights}", f'TEMPLATE """{template}"""']
    if system:
        lines.append(f'SYSTEM """{system}"""')
    lines += [f'PARAMETER stop "{token}"' for token in tokenizer.convert_ids_to_tokens(ends)]
    lines.append("PARAMETER temperature 0")
    if "max_new_tokens" in trained:
        lines.append(f"PARAMETER num_predict {trained['max_new_tokens']}")
    return "\n".join(lines) + "\n"


def _prompt(tokenizer: PreTrainedTokenizerBase, system: str) -> str:
    """What stands before an answer; without the token that begins a text, which llama.cpp puts before it."""
    return prompt_of(tokenizer, QUESTION, system).removeprefix(tokenizer.bos_token or "")
