"""Checkpoints: all that the next steps of a training depend on, written whole, without pickles."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from settings import Settings
from stage import Stage, write_json


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a run stands, beside its weights and the optimizer's."""

    step: int
    seconds: float
    threads: int
    loss: float = 0.0


class Trained:
    """The weights that are trained, by name, and their optimizer."""

    def __init__(self, model: torch.nn.Module, settings: Settings) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self.size = sum(weight.numel() for weight in self.weights.values())
        self.optimizer = torch.optim.AdamW(
            self.weights.values(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )


def checkpoint(stage: Stage, trained: Trained, state: State) -> None:
    """Write all that the next steps depend on; the folder appears whole, and then the older one goes."""
    older = checkpoints(stage)
    folder = stage.folder / f"checkpoint-{state.step:08d}"
    unfinished = folder.with_suffix(".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    weights = {name: weight.detach().contiguous() for name, weight in trained.weights.items()}
    moments = {
        f"{moment} {name}": value
        for name, weight in trained.weights.items()
        for moment, value in trained.optimizer.state[weight].items()
    }
    save_file(weights, unfinished / "weights.safetensors")
    save_file(moments, unfinished / "optimizer.safetensors")
    write_json(unfinished / "state.json", {"job_sha256": stage.job_sha256, **asdict(state)})
    unfinished.rename(folder)
    for old in older:
        shutil.rmtree(old)


def checkpoints(stage: Stage) -> list[Path]:
    """Finished checkpoints, the oldest first."""
    return sorted(path for path in stage.folder.glob("checkpoint-*") if path.suffix != ".tmp")


def resume(stage: Stage, trained: Trained, log: Path) -> State | None:
    """Go back to the last checkpoint of this very job; None, and an empty log, when there is none."""
    for folder in reversed(checkpoints(stage)):
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if values.pop("job_sha256") != stage.job_sha256:
            continue
        state = State(**values)
        weights = load_file(folder / "weights.safetensors")
        with torch.no_grad():
            for name, weight in trained.weights.items():
                weight.copy_(weights[name])
        for key, value in load_file(folder / "optimizer.safetensors").items():
            moment, name = key.split(" ", 1)
            weight = trained.weights[name]
            trained.optimizer.state[weight][moment] = value.to(weight.device)
        with open(log, encoding="utf-8", newline="\n") as file:
            lines = [line.rstrip() for line in file if is_before(line, state.step)]
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        print(f"going on after step {state.step}")
        return state
    log.write_text("", encoding="utf-8")
    return None


def is_before(line: str, step: int) -> bool:
    """Whether a line of the log, perhaps cut short by a kill, belongs to the first *step* steps."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:
        return False
