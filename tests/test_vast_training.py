"""A real training on a rented machine, from a text to the receipt: Vast's own SDK, a real SSH server, the real recipes."""

import json
import sys
from decimal import Decimal

import attrs
from boxes import QUICK
from pumps import PUMPS
from vast_server import KEY, VastServer

from text2expert import Pipeline, Trainer, Vast
from text2expert.examiner import Examiner, load_answers
from text2expert.records import ExamQuestion, read_jsonl
from text2expert.runners.vast.journal import Journal


def test_from_a_text_to_an_expert_its_exam_and_the_receipt(tmp_path, monkeypatch):
    """One machine answers the exam with the base, trains, and answers with the expert; all of it comes home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    source, folder = tmp_path / "pumps.txt", tmp_path / "run"
    source.write_text(PUMPS, encoding="utf-8")
    with VastServer(tmp_path / "vast", load_seconds=0.1) as server:
        monkeypatch.setenv("VAST_URL", server.url)
        pace = attrs.evolve(QUICK, lease=120, heartbeat=5, ready=60, patience=60)
        runner = Vast(api_key=KEY, budget=1.0, python=sys.executable, pace=pace)
        run = Pipeline(trainer=Trainer(max_steps=2, runner=runner, train_anyway=True)).run(source, out=folder)
        assert (1, [], []) == (len(server.instances), server.living(), Journal().rentals())
        bill = Decimal(str(server.bill()))
    exam = list(read_jsonl(folder / "exam.jsonl", ExamQuestion))
    answers = {}
    for contestant, stage in (("base", "before"), ("expert", "after")):
        assert json.loads((folder / "stages" / stage / "done.json").read_bytes())["job_sha256"]
        answers[contestant] = load_answers(folder / "stages" / stage / "answers.jsonl")
        assert {each.id for each in exam} == set(answers[contestant])
    # The exam is made of the answers that came home.
    graded = Examiner().result(exam, answers).scores
    assert graded
    assert [each for each in run.exam.scores if each.contestant in answers] == list(graded)
    assert run.expert.ask("How often is the pump flushed?")
    receipt = json.loads((folder / "run.json").read_bytes())
    rent = Decimal(receipt["costs"]["training"]["settled_usd"])
    assert bill <= rent <= bill + Decimal("0.002")  # dollars; the training takes about 0.003
    assert (receipt["cost_usd"], receipt["machines"]) == (str(rent), 1)
    assert "rent_held_usd_at_most" not in receipt
