"""Stands for a training that takes seconds: steps, checkpoints on the way, results; no torch. python lora.py job.json"""

import hashlib
import json
import sys
import time
from pathlib import Path

job = Path(sys.argv[1])
data = job.read_bytes()
settings = json.loads(data)
place = job.parent
sha256 = hashlib.sha256(data).hexdigest()
(place / "progress.jsonl").unlink(missing_ok=True)
begun = max(
    (int(each.name.rpartition("-")[2]) for each in place.glob("checkpoint-*") if each.suffix != ".tmp"), default=0
)
print(f"going on after step {begun}", flush=True)
for step in range(begun, settings["steps"]):
    time.sleep(settings["seconds"])
    with open(place / "progress.jsonl", "a") as file:
        file.write(json.dumps({"done": step + 1, "total": settings["steps"], "loss": 1 / (step + 1)}) + "\n")
    if settings.get("fails") == step:
        sys.exit("the loss is nan")
    if (step + 1) % 4 == 0:
        unfinished = place / f"checkpoint-{step + 1:08d}.tmp"
        unfinished.mkdir(exist_ok=True)
        state = {"step": step + 1, "state": "x" * settings.get("checkpoint_bytes", 0)}
        (unfinished / "state.json").write_text(json.dumps(state))
        unfinished.rename(unfinished.with_suffix(""))
output = Path(settings["output"])
output.mkdir(exist_ok=True)
(output / "adapter_config.json").write_text(json.dumps({"steps": settings["steps"], "begun": begun}))
(place / "done.json").write_text(json.dumps({"job_sha256": sha256}))
