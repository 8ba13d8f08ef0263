"""A client that ends between any two steps of a rental, as by SIGKILL: the next one finds everything, and pays it once."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
from test_vast_chaos import start
from vast_server import KEY, VastServer

from text2expert.ledger import Ledger

STEPS = [
    ("Journal.write", 1),  # the line is there, and no money is set aside
    ("Ledger.hold", 1),
    ("Ledger.open_batch", 1),
    ("Ledger.name_batch", 1),  # all is set aside, and nothing was asked for
    ("Account.create", 1),  # rented, and not written down
    ("Journal.write", 2),
    ("Journal.write_key", 1),
    ("Account.attach", 1),
    ("Account.destroy", 1),  # gone, and not paid
    ("Ledger.settle", 1),
    ("Ledger.close_batch", 1),  # paid, and not forgotten
]


def story(step, tmp_path):
    folder, state = tmp_path / "run", tmp_path / "state"
    folder.mkdir(parents=True)
    settings = {"vast": {"api_key": KEY, "budget": 1.0}, "job": {"name": "job", "steps": 2}}
    with VastServer(tmp_path / "vast", load_seconds=0.1) as server:
        codes = []
        for end_after in (step, None):
            (folder / "vast.json").write_text(json.dumps({**settings, "end_after": end_after}))
            codes.append(start(folder, server, state).wait(120))
        machines = list(server.instances.values())
        with Ledger(folder) as book:
            spent, batches = book.spent(), book.open_batches()
        return {
            "codes": codes,
            "living": server.living(),
            "overlaps": [(a.id, b.id) for a, b in combinations(machines, 2) if (a.ended or float("inf")) > b.began],
            "held": (spent.held, spent.lost, batches),
            "is_paid": server.bill() <= spent.total <= server.bill() + 15 * 0.44 / 3600,
            "money": (server.bill(), spent.total),
            "left": [
                each.name
                for each in (state / "text2expert" / "rentals").glob("*.json")
                if json.loads(each.read_bytes())["machine"] is not None
            ],
            "log": (folder / "client.log").read_text(),
        }


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with ThreadPoolExecutor(4) as threads:
        yield {step: threads.submit(story, step, tmp_path_factory.mktemp(step[0].replace(".", "-"))) for step in STEPS}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0]}-{step[1]}")
def test_the_next_one_finds_everything_and_pays_it_once(outcomes, step):
    """No machine is left or was there beside another, nothing is held or booked twice, and the job is done."""
    found = outcomes[step].result()
    assert [9, 0] == found["codes"], found
    assert ([], [], []) == (found["living"], found["overlaps"], found["left"]), found
    assert (0, 0, []) == found["held"], found
    assert found["is_paid"], found
