"""A real training on a rented machine, from renting to the adapter: Vast's own SDK, a real SSH server, the real recipes."""

import json
import sys

import attrs
from boxes import QUICK
from deck import exam, gold, text
from vast_server import KEY, VastServer

from text2expert import Ledger, Trainer, Vast
from text2expert.expert import Expert


def test_from_renting_to_an_expert_that_answers(tmp_path, monkeypatch):
    """One machine answers the exam with the base, trains, and answers with the expert; all of it comes home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "deck.txt").write_text(text())
    with VastServer(tmp_path / "vast", load_seconds=0.1) as server:
        monkeypatch.setenv("VAST_URL", server.url)
        pace = attrs.evolve(QUICK, lease=120, heartbeat=5, ready=60, patience=60)
        runner = Vast(api_key=KEY, budget=1.0, python=sys.executable, pace=pace)
        trainer = Trainer(max_steps=2, runner=runner, train_anyway=True)
        adapter = trainer.train(gold(), folder=tmp_path / "run", texts=[tmp_path / "deck.txt"], exam=exam()[:2])
        assert (1, []) == (len(server.instances), server.living())
        bill = server.bill()
    folder = tmp_path / "run"
    assert str(folder / "expert") == adapter.path
    for stage in ("before", "train", "after"):
        assert json.loads((folder / "stages" / stage / "done.json").read_bytes())["job_sha256"]
    for stage in ("before", "after"):
        answers = (folder / "stages" / stage / "answers.jsonl").read_text().splitlines()
        assert ["q0", "q1"] == [json.loads(line)["id"] for line in answers]
    assert Expert.load(folder).ask("How often is the bilge pump checked?")
    with Ledger(folder) as book:
        spent = book.spent("training")
    assert spent.held == 0
    assert bill <= spent.total <= bill + 0.002  # dollars; the training takes about 0.003
