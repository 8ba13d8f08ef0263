"""What the job.json of lora.py says."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What job.json says; paths are relative to the job's folder."""

    base: str
    """A model id of the Hugging Face hub or a folder."""
    revision: str | None = None
    """Of the base on the hub: a commit, a tag or a branch; the commit that it was is recorded."""
    precision: Literal["auto", "bf16", "fp32", "nf4"] = "auto"
    """What the base's weights are held in. "auto": on a GPU bf16 where training fits into its free memory, else nf4
    (QLoRA: quantised twice, computed with in bf16); on the CPU fp32, where bf16 is slower."""
    gold: str
    """JSONL: the golden dataset, {"instruction", "input", "output", ...}."""
    weights: dict[str, float] = field(default_factory=dict)
    """Document -> how often each of its gold rows is trained in an epoch: 2 for twice, 0.5 for every other epoch. Rows of
    documents that are not named are trained once."""
    output: str = "expert"
    system: str = ""
    default_chat_template: str
    """For a base whose tokenizer has none."""
    reasoning: Literal["none", "before", "after"] = "none"
    """Whether the reasoning of a gold row is trained, and on which side of its answer."""
    short_answer: Literal["none", "first", "last"] = "none"
    """Whether the short answer of a gold row is trained, and on which side of the long one."""
    texts: list[str] = field(default_factory=list)
    """JSONL: {"text"}, trained on all tokens and without a template."""
    text_share: float = 0.0
    """Share of an epoch's tokens that comes from the texts; the shares of all streams sum up to less than 1."""
    replay: str | None = None
    """JSONL against forgetting: the form of the golden dataset, {"messages"} (the last turn is trained) or {"text"}."""
    replay_share: float = 0.0
    refusals: str | None = None
    """JSONL: the form of the golden dataset with "twin", the item of the answerable question that is most alike."""
    refusals_share: float = 0.0
    validation: str | None = None
    """JSONL: the form of the golden dataset; asked during training, never trained. Rows of the golden dataset whose
    question has the same wording are left out of training."""
    evaluations: int = 10
    """How often in the whole run validation is asked."""
    patience: int = 3
    """Evaluations without gain after which training ends; 0: it never ends early."""
    epochs: float
    """Passes over the golden dataset."""
    max_steps: int | None = None
    batch_size: int
    """Rows in an optimizer step, of all streams together."""
    packing: bool | None = None
    """Rows one after another without padding, or padded beside rows of their length. None: packed, which is faster on a
    GPU and no slower on a CPU, wherever the base keeps packed rows apart; True also where that takes a slower
    attention."""
    micro_batch_tokens: int = 8192
    """Padded tokens that go through the model at once; a larger batch is cut, to the same gradient. Halved when memory
    runs out."""
    activation_checkpointing: bool = False
    """Calculate activations twice instead of keeping them; also switched on when memory runs out."""
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
