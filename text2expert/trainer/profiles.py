"""Defaults that belong together, for a base with weights of its own and for the toy, each with its reason."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from text2expert.trainer.arguments import Reasoning, ShortAnswer

CLOUD_BASE = "Qwen/Qwen2.5-7B-Instruct"
"""What `Pipeline.cloud` trains. Of the instruct models of 7 to 8 billion parameters it is the one that anybody may fetch
(Apache-2.0, not gated) whose own chat template has a system role and no thought that training would have to imitate;
and closed-book results of this kind were published on it (arXiv 2601.19897) and on its plain sibling (2506.10943), so
that one can be held against them."""

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Question:\\n' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ '### Answer:\\n' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Answer:\\n' }}{% endif %}"
)
"""For a base that brings none; it is saved with the expert, so that whoever serves it writes the same."""


@attrs.frozen(kw_only=True)
class Profile:
    """Defaults for one kind of base."""

    epochs: float
    least_steps: int
    """More epochs, where these are fewer."""
    learning_rate: float
    batch_size: int
    r: int
    alpha: int
    reasoning: Reasoning
    short_answer: ShortAnswer
    text_share: float
    replay: Literal["self", False]
    replay_share: float
    refusals: float
    validation: int
    more: Mapping[str, Any]
    """Settings of recipes/lora.py that are not the caller's business."""


REAL = Profile(
    # Facts need 30 to 50 exposures; five wordings an item in four epochs are twenty, and more epochs cost general ability.
    epochs=4,
    least_steps=1,
    # Ten times what full fine-tuning takes; published sweeps for LoRA on 7B to 8B bases lie between 2e-4 and 1e-3.
    learning_rate=3e-4,
    # LoRA loses more than full fine-tuning when batches grow beyond about 32 rows.
    batch_size=16,
    # All linear layers at rank 64 hold thousands of facts; smaller ranks saturate as documents are added.
    r=64,
    alpha=64,
    # A trace of thought multiplies the tokens, and what is graded and wanted is the answer.
    reasoning="none",
    # Short canonical answers were worth 28 points to the closest published work (arXiv 2607.21861); with the sentence
    # after it, the answer still says what it is an answer to.
    short_answer="first",
    # Published: questions and texts complement each other, with most of the tokens on questions. The lab neither shows a
    # gain by it nor a loss: nothing that was only written becomes an answer in a base of its size.
    text_share=0.2,
    # Without replay the knowledge lab's base kept a third of what it knew; with 15, 20, 25 and 30 % in its own words, 91,
    # 94, 95 and 97 %, for a hundredth of the new facts at most (benchmarks/knowledge.py, docs/training.md).
    replay="self",
    replay_share=0.25,
    # Taught refusals reach only part of the questions that nobody foresaw, and some that have an answer.
    refusals=0.0,
    # Out of a hundred, a standard error of five points at the worst.
    validation=100,
    more={"checkpoint_seconds": 300.0},
)
"""For bases with weights of their own."""

ALONE = attrs.evolve(REAL, text_share=0.0, replay=False, replay_share=0.0, validation=0)
"""For LLaMA-Factory, which trains one kind of rows in a run and knows no wordings that are held out by content."""

EMBEDDED = Profile(
    # On the sample handbook, three seeds: 95 to 98 of 100 held-out wordings after sixteen, 90 to 94 after twelve.
    epochs=16,
    # A short text has few rows, and an attention that knows nothing yet needs its steps all the same.
    least_steps=900,
    # 6e-3 learns alike; above that was not tried.
    learning_rate=4e-3,
    # Sixteen rows teach no more in an epoch and take twice the steps.
    batch_size=32,
    # Half the width of the toy: its adapters hold every fact, so they must be large for once.
    r=64,
    alpha=64,
    reasoning="none",
    short_answer="none",
    # The toy was made from the text, and knows nothing that could be forgotten or stand in for what is not in it.
    text_share=0.0,
    replay=False,
    replay_share=0.0,
    refusals=0.0,
    # On the sample handbook (one seed) 97 instead of 93 of 100 held-out wordings, 87 instead of 88 of new templates.
    validation=100,
    more={
        "checkpoint_seconds": 20.0,
        # The toy has seen each word a few times only. With its embeddings the loss falls in a third of the steps.
        "train_embeddings": True,
        # Words dropped and swapped: wordings unlike any template gain a few points by it, held-out ones hardly any.
        "question_noise": 0.5,
    },
)
"""For the toy base; found by benchmarks/embedded.py."""

EMBEDDED_BASE: Mapping[str, Any] = {
    "vocabulary": 2000,
    "hidden": 128,
    "layers": 2,
    "heads": 4,
    "intermediate": 384,
    "window": 128,
    "batch_size": 16,
    # Twice, for the words; what it should know is taught by the golden dataset, and more passes do not help that.
    "passes": 2,
    "max_tokens": 1_500_000,
    "question_share": 0.3,
    "learning_rate": 3e-3,
}
"""Settings of recipes/scratch.py."""

LEAST_VALIDATION = 20
"""Wordings; fewer say too little to stop a training by (a standard error of eleven points and more)."""

VALIDATION_SHARE = 0.1
"""Of a small dataset's rows: every wording that validation keeps is one that its fact is not trained in."""

LEAST_WRITING = 5e7
"""Parameters; what a smaller base writes is not worth a replay, so that it has one only where that is asked for."""

FILE_SHARE = 0.05
"""Of refusals from a file, where no share is named: 5 to 8 % is what was published to do without unlearning answers."""
