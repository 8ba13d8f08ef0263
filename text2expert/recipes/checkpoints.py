"""Checkpoints: all that the next steps of a training depend on, written whole, without pickles."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from settings import Settings
from stage import Stage, write_json

LOG = "training_log.jsonl"

UNFINISHED = ".tmp"
"""How the name of a checkpoint ends that is being written."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How validation was answered after some step."""

    step: int
    share: float
    """Of the answers, those that greedy decoding would write exactly."""
    loss: float
    """A token of the answers, on average."""

    def beats(self, other: "Evaluation | None") -> bool:
        """More answers are right, or as many and more surely."""
        return other is None or (self.share, -self.loss) > (other.share, -other.loss)


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run stands, beside its weights and the optimizer's."""

    step: int
    seconds: float
    threads: int
    micro_batch_tokens: int
    activation_checkpointing: bool
    precision: str
    """Which the base was held in: what is free may be more or less when a run goes on."""
    revision: str | None
    """Of the base on the hub, where a branch moves on."""
    tokens: int = 0
    loss: float = 0.0
    share: float = 0.0
    """Of the validation answers that were right when last asked."""
    best: Evaluation | None = None
    without_gain: int = 0
    """Evaluations since the best one."""
    stopped_early: bool = False


class Trained:
    """The weights that are trained, by name, their optimizer, and the best they were."""

    def __init__(self, model: torch.nn.Module, settings: Settings) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.size = sum(weight.numel() for weight in self.weights.values())
        self.best: dict[str, torch.Tensor] = {}
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def keep_best(self) -> None:
        """Copy the weights, away from the GPU."""
        self.best = {name: weight.detach().to("cpu", copy=True) for name, weight in self.weights.items()}

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Set the weights to other values of the same names."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])


def checkpoint(stage: Stage, trained: Trained, state: State) -> None:
    """Write all that the next steps depend on, and the log so far; the folder appears whole, and then the older one goes.

    Another machine may go on from it, which has nothing else of this stage.
    """
    older = checkpoints(stage)
    folder = stage.folder / f"checkpoint-{state.step:08d}"
    unfinished = folder.with_suffix(UNFINISHED)
    for left in stage.folder.glob(f"checkpoint-*{UNFINISHED}"):  # by a kill, gigabytes perhaps
        shutil.rmtree(left)
    unfinished.mkdir(parents=True)
    weights = {name: weight.detach().contiguous() for name, weight in trained.weights.items()}
    moments = {
        f"{moment} {name}": value
        for name, weight in trained.weights.items()
        for moment, value in trained.optimizer.state[weight].items()
    }
    save_file(weights, unfinished / "weights.safetensors")
    save_file(moments, unfinished / "optimizer.safetensors")
    save_file(trained.best, unfinished / "best.safetensors")
    shutil.copyfile(stage.folder / LOG, unfinished / LOG)
    write_json(unfinished / "state.json", {"job_sha256": stage.job_sha256, **asdict(state)})
    unfinished.rename(folder)
    for old in older:
        shutil.rmtree(old)


def checkpoints(stage: Stage) -> list[Path]:
    """Finished checkpoints, the oldest first."""
    return sorted(path for path in stage.folder.glob("checkpoint-*") if path.suffix != UNFINISHED)


def last(stage: Stage) -> tuple[Path, State] | None:
    """The last checkpoint of this very job and where it stands; None when there is none."""
    for folder in reversed(checkpoints(stage)):
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if values.pop("job_sha256") == stage.job_sha256:
            best = values.pop("best")
            return folder, State(**values, best=Evaluation(**best) if best else None)
    return None


def resume(stage: Stage, trained: Trained) -> State | None:
    """Go back to the last checkpoint of this very job; None, and an empty log, when there is none."""
    log = stage.folder / LOG
    if found := last(stage):
        folder, state = found
        trained.load(load_file(folder / "weights.safetensors"))
        trained.best = load_file(folder / "best.safetensors")
        for key, value in load_file(folder / "optimizer.safetensors").items():
            moment, name = key.split(" ", 1)
            weight = trained.weights[name]
            trained.optimizer.state[weight][moment] = value.to(weight.device)
        if stage.writes:
            shutil.copyfile(folder / LOG, log)
        print(f"going on after step {state.step}")
        return state
    if stage.writes:
        log.write_text("", encoding="utf-8")
    return None
