"""What the job.json of lora.py says."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says."""

    base: str
    """A model id of the Hugging Face hub or a folder."""
    revision: str | None = None
    gold: str
    output: str = "expert"
    system: str = ""
    default_chat_template: str
    """For a base whose tokenizer has none."""
    epochs: float
    max_steps: int | None = None
    batch_size: int
    """Rows in an optimizer step."""
    micro_batch_tokens: int = 8192
    """Padded tokens that go through the model at once; a larger batch is cut, to the same gradient."""
    max_length: int = 2048
    """Tokens of a row; longer ones are left out and counted, because a cut answer would teach a wrong one."""
    learning_rate: float
    min_learning_rate: float = 0.1
    """Where the cosine ends, as a share of the learning rate."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    r: int
    alpha: int
    train_embeddings: bool = False
    question_noise: float = 0.0
    """Share of the questions, drawn anew in every epoch, of which words are dropped or swapped."""
    seed: int = 0
    checkpoint_seconds: float = 60.0
    inputs: dict[str, str] = field(default_factory=dict)
    """Digests of what this stage reads: a change of them is a change of the job."""
