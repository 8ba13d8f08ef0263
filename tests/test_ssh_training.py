"""A real training on a machine that is reached by SSH, of a base that is a folder here and writes its own replay."""

import getpass
import json
import sys

from deck import gold
from ssh_server import SSHServer, keypair
from test_replay import BEGINS
from test_replay import base as writing_base

from text2expert import SSH, Trainer


def test_a_base_of_ones_own_goes_there_writes_and_is_trained(tmp_path):
    """Its files go along, what it writes there is trained there, and the expert that comes home names the folder here."""
    base = tmp_path / "base"
    writing_base(base, template=BEGINS, bos="<|begin|>", eos="<|over|>", specials=("<|head|>", "<|tail|>"))
    server = SSHServer(tmp_path / "machine")
    server.start()
    try:
        server.let_in(keypair(tmp_path / "key"))
        (tmp_path / "known_hosts").write_text(server.known_hosts())
        runner = SSH(
            f"{getpass.getuser()}@127.0.0.1:{server.port}", key=tmp_path / "key", known_hosts=tmp_path / "known_hosts",
            python=sys.executable, folder=str(tmp_path / "there"),
        )  # fmt: skip
        trainer = Trainer(base, replay="self", max_steps=2, batch_size=8, r=4, runner=runner, train_anyway=True)
        adapter = trainer.train(gold(), folder=tmp_path / "run")
    finally:
        server.end()
    stages = tmp_path / "run" / "stages"
    written = [json.loads(line) for line in (stages / "replay" / "replay.jsonl").read_text("utf-8").splitlines()]
    assert len(written) >= 50
    assert "an example (replay)" in (stages / "train" / "log.txt").read_text()
    assert str(base) == adapter.base_model
    assert not list((tmp_path / "there").iterdir())  # nothing is left there
