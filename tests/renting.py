"""What the tests of renting share: a quick renter, its jobs without torch, and what is looked at afterwards."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attrs
import boxes
from boxes import QUICK, job_in
from vast_server import KEY

from text2expert.ledger import Ledger
from text2expert.runners.vast import Vast
from text2expert.runners.vast.journal import Journal

SECOND = 0.44 / 3600
"""Dollars, of the dearest machine that these tests get."""

CREATE, LIST, SHOW, LABEL, DESTROY = (
    ("PUT", "/asks/"),
    ("GET", "/api/v1/instances/"),
    ("GET", "/api/v0/instances/"),
    ("PUT", "/instances/"),
    ("DELETE", "/instances/"),
)


def renter(**more):
    pace = attrs.evolve(QUICK, **more.pop("pace", {}))
    return Vast(**{"api_key": KEY, "budget": 1.0, "python": sys.executable, "pace": pace, **more})


def run(folder, runner=None, **job):
    folder.mkdir(exist_ok=True)
    asyncio.run((runner or renter()).run(job_in(folder, **{"steps": 2, **job})))


def begun(folder):
    """After which step the training that has ended went on."""
    return json.loads((folder / "expert" / "adapter_config.json").read_bytes())["begun"]


def spent(folder):
    with Ledger(folder) as book:
        found = book.spent("training")
    return float(found.total), float(found.held)


def rentals():
    return Journal().rentals()


def doubts():
    """What is remembered of calls that were refused, until their lease has ended."""
    return [each for each in rentals() if each.settled and each.machine is None and each.lease_until > time.time()]


def created(server):
    return sum(call[0] == "PUT" and "/asks/" in call[1] for call in server.calls)


def wait(seconds, found):
    until = time.monotonic() + seconds
    while not found() and time.monotonic() < until:
        time.sleep(0.05)
    assert found()


def client(folder, server, state, **settings):
    """The same in a process that can be killed."""
    job = {"name": "job", "steps": 2, **settings.pop("job", {})}
    folder.mkdir(exist_ok=True)
    pace = settings.pop("pace", {})
    settings = {"vast": {"api_key": KEY, "budget": 1.0, **settings}, "job": job, "pace": pace}
    (folder / "vast.json").write_text(json.dumps(settings))
    env = {**os.environ, "VAST_URL": server.url, "XDG_STATE_HOME": str(state)}
    env["PYTHONPATH"] = f"{Path(__file__).parent}:{Path(__file__).parent.parent}"
    with open(folder / "client.log", "ab") as log:
        return subprocess.Popen([sys.executable, boxes.__file__, str(folder)], env=env, stdout=log, stderr=log)
