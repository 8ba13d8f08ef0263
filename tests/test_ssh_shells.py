"""Machines whose shells speak before they are asked, and adapters whose base is looked at closely."""

import asyncio
import getpass
import json
import sys
from pathlib import Path

import boxes
import pytest
from ssh_server import SSHServer, keypair

from text2expert.errors import RunnerError
from text2expert.runners import receiving, remote
from text2expert.runners.machine import Remote
from text2expert.runners.ssh import SSH

COMMIT, OTHER = "a" * 40, "b" * 40


def test_what_a_profile_prints_and_where_it_goes_makes_no_difference(tmp_path, monkeypatch):
    """Bash reads ~/.bashrc also for a command over SSH; commands and files must mean one folder all the same."""
    monkeypatch.setattr(remote, "RECIPES", boxes.RECIPES)
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.1)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text('echo "Welcome, {\\"to\\": 1}"\ncd /\n')
    server = SSHServer(tmp_path / "machine", environment={"HOME": str(home)})
    server.start()
    try:
        server.let_in(keypair(tmp_path / "key"))
        (tmp_path / "known_hosts").write_text(server.known_hosts())
        runner = SSH(
            f"{getpass.getuser()}@127.0.0.1:{server.port}", key=tmp_path / "key", known_hosts=tmp_path / "known_hosts",
            python=sys.executable, folder=str(tmp_path / "there"), keep=True,
        )  # fmt: skip
        job = boxes.job_in(tmp_path / "run")
        asyncio.run(runner.run(job))
        assert (Path(job.folder) / "expert" / "adapter_config.json").is_file()
        assert (0, f"{home}\n") == asyncio.run(answer(runner, "pwd"))
    finally:
        server.stop()


async def answer(runner, script):
    remote = Remote(runner._connect, "there", name="it", patience=8.0)
    try:
        return await remote.command(script)
    finally:
        await remote.close()


@pytest.mark.parametrize(
    ("revision", "named"),
    [(None, None), (None, COMMIT), ("main", COMMIT), ("main", "main"), (COMMIT, COMMIT)],
)
def test_a_commit_of_the_base_is_taken(tmp_path, revision, named):
    receiving.check_base(config(tmp_path, named), "some/model", revision)


@pytest.mark.parametrize(
    ("revision", "named"),
    [(None, "refs/pr/7"), (None, "main"), (None, 7), ("main", "refs/pr/7"), (COMMIT, OTHER), (COMMIT, None)],
)
def test_what_anybody_may_have_put_beside_the_base_is_refused(tmp_path, revision, named):
    """Whoever asks the expert at home would load that instead."""
    with pytest.raises(RunnerError, match=r"the machine sent an adapter of some/model at revision"):
        receiving.check_base(config(tmp_path, named), "some/model", revision)


def config(folder, revision):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({"base_model_name_or_path": "some/model", "revision": revision}))
    return path
