"""Jobs without torch, for what carries jobs about; and the client that is killed in the middle of one.

python boxes.py FOLDER    runs the job in FOLDER on a machine rented with the settings of FOLDER/vast.json
"""

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path

import attrs

from text2expert import files
from text2expert.ledger import Ledger
from text2expert.records import Job, Stage
from text2expert.runners import Runner, remote
from text2expert.runners.vast import Pace, Vast
from text2expert.runners.vast.account import Account
from text2expert.runners.vast.journal import Journal
from text2expert.runners.vast.offers import BASE_GB

RECIPES = Path(__file__).parent / "box_recipes"

QUICK = Pace(poll=0.2, ready=12, lease=15, heartbeat=1, grace=4, destroy=15, look=1, settle=1.5, patience=8)


def job_in(folder: Path, name: str = "job", *, steps: int = 10, seconds: float = 0.1, **more: object) -> Job:
    """A job of one stage, of a base that is fetched."""
    files.make_folder(folder / "stages" / "train")
    settings = {"steps": steps, "seconds": seconds, "output": "expert", "fetches_gb": BASE_GB, **more}
    files.write_json(folder / "stages" / "train" / "job.json", settings)
    stage = Stage(name="train", argv=("lora.py", "stages/train/job.json"), outputs=("expert",))
    return Job(id=name, folder=str(folder), stages=(stage,))


def run(runner: Runner, job: Job) -> None:
    """Run *job*, to its end."""
    asyncio.run(runner.run(job))


def adapter(job: Job) -> dict[str, object]:
    """What *job* has made."""
    made: dict[str, object] = json.loads((Path(job.folder) / "expert" / "adapter_config.json").read_bytes())
    return made


def end_after(name: str, number: int) -> None:
    """End this process, as SIGKILL does, when the method *name* of a class of renting has returned for the n-th time."""
    owner, method = name.split(".")
    kind = {"Journal": Journal, "Ledger": Ledger, "Account": Account}[owner]
    real, calls = getattr(kind, method), itertools.count(1)

    def count() -> None:
        if next(calls) == number:
            os._exit(9)

    async def awaited(*args: object, **more: object) -> object:
        result = await real(*args, **more)
        count()
        return result

    def called(*args: object, **more: object) -> object:
        result = real(*args, **more)
        count()
        return result

    setattr(kind, method, awaited if asyncio.iscoroutinefunction(real) else called)


def client(folder: Path) -> None:
    """Run the job that lies in *folder*."""
    remote.RECIPES = RECIPES
    settings = json.loads((folder / "vast.json").read_bytes())
    if settings.get("end_after"):
        end_after(*settings["end_after"])
    pace = attrs.evolve(QUICK, **settings.get("pace", {}))
    vast = Vast(pace=pace, python=sys.executable, **settings["vast"])
    asyncio.run(vast.run(job_in(folder, **settings["job"])))


if __name__ == "__main__":
    client(Path(sys.argv[1]))
