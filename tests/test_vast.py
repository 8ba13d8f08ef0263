"""Renting, one thing at a time: the server of Vast's contract, machines that are real SSH servers, a stage without torch."""

import asyncio
import contextlib
import json
import re
import subprocess
import threading
from itertools import pairwise
from pathlib import Path

import attrs
import pytest
from boxes import job_in
from renting import DESTROY, LIST, SECOND, begun, client, created, rentals, renter, run, spent, wait
from vast_server import KEY, Fault

from text2expert.errors import AuthenticationFailed, InputError, RunnerError
from text2expert.ledger import Ledger
from text2expert.records import Job, Needs
from text2expert.runners.vast import account
from text2expert.runners.vast.account import Account
from text2expert.runners.vast.deadman import LONGEST, script
from text2expert.runners.vast.journal import Rental, token_of

# The way of one rental


def test_a_machine_is_rented_used_paid_and_given_back(vast, tmp_path):
    """The bill is the ledger's, nothing is left, and the receipt says what was rented."""
    run(tmp_path / "run")
    (machine,) = vast.instances.values()
    assert (begun(tmp_path / "run"), machine.destroyed_by, rentals()) == (0, "owner", [])
    usd, held = spent(tmp_path / "run")
    assert held == 0
    assert vast.bill() <= usd <= vast.bill() + 4 * SECOND
    assert not list((tmp_path / "state").rglob("*.key"))
    with Ledger(tmp_path / "run") as book:
        token = token_of(machine.label)[1]
        receipt = json.loads(book.reply(f"rent/{token}").text)
    assert (receipt["machine"], receipt["usd"]) == (machine.id, f"{usd:.5f}")


def test_no_key_of_ours_is_anywhere_but_in_the_headers(vast, tmp_path, capfd):
    """Not in a file, a label, a start script, a line that is said, nor on the machine."""
    seen = []
    here = threading.Event()

    def look():
        while not here.wait(0.1):
            for instance in vast.living():
                for root in (instance.folder, Path.home() / ".text2expert"):
                    with contextlib.suppress(OSError):  # of a machine that ends meanwhile
                        seen.extend(
                            path for path in root.rglob("*") if path.is_file() and KEY in path.read_text("latin-1")
                        )
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        seen.extend([path] if KEY in path.read_text("latin-1") else [])
                    except OSError:
                        continue

    watch = threading.Thread(target=look)
    watch.start()
    try:
        run(tmp_path / "run", steps=6)
    finally:
        here.set()
        watch.join()
    (machine,) = vast.instances.values()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    said = "".join(capfd.readouterr())
    assert ([], []) == (seen, kept)
    assert not [text for text in (*machine.labels, machine.onstart, said, repr(renter())) if KEY in text]
    assert machine.key not in said + machine.onstart


def test_killed_and_started_again_it_goes_on_with_its_machine(vast, tmp_path):
    """kill -9 leaves the machine; the second client finds it by the journal, and the training has not stopped."""
    first = client(tmp_path / "run", vast, tmp_path / "state", job={"steps": 60})
    wait(60, (tmp_path / "run" / "stages" / "train" / "progress.jsonl").exists)
    first.kill()
    first.wait()
    run(tmp_path / "run", steps=60)
    assert (1, 0, []) == (len(vast.instances), begun(tmp_path / "run"), vast.living())
    usd, held = spent(tmp_path / "run")
    assert vast.bill() <= usd <= vast.bill() + 5 * SECOND
    assert (held, rentals()) == (0, [])


def test_when_the_client_is_gone_for_good_the_machine_destroys_itself(vast, tmp_path):
    """The timer on the machine, with the machine's own key; the next start books what that took and goes on elsewhere."""
    gone = client(tmp_path / "run", vast, tmp_path / "state", job={"steps": 400}, pace={"lease": 6})
    checkpoints = tmp_path / "run" / "stages" / "train"
    wait(60, lambda: any(checkpoints.glob("checkpoint-*[0-9]")))
    gone.kill()
    gone.wait()
    wait(60, lambda: not vast.living())
    (machine,) = vast.instances.values()
    assert f"machine {machine.id}" == machine.destroyed_by
    lease = rentals()[0].lease_until
    assert lease - 2 <= machine.ended <= lease + 5
    step = max(int(each.name.rpartition("-")[2]) for each in checkpoints.glob("checkpoint-*[0-9]"))
    run(tmp_path / "run", steps=400, seconds=0.001)
    assert (2, []) == (len(vast.instances), rentals())
    usd, held = spent(tmp_path / "run")
    assert (0, True) == (held, vast.bill() <= usd <= vast.bill() + 12 * SECOND)
    assert begun(tmp_path / "run") == step


def test_the_lease_is_renewed_whatever_is_waited_for(vast, tmp_path, monkeypatch):
    """Installing, or carrying a base there, may take longer than a lease."""

    async def slow(remote):
        await asyncio.sleep(6)

    monkeypatch.setattr("text2expert.runners.vast.prepare", slow)
    run(tmp_path / "run", renter(pace={"lease": 4}))
    assert ["owner"] == [each.destroyed_by for each in vast.instances.values()]


def test_a_job_that_is_done_rents_nothing_again(vast, tmp_path, monkeypatch, capfd):
    """It only gives back what is left of it: first nothing, then a machine that could not be given back."""
    run(tmp_path / "run")
    run(tmp_path / "run")
    assert (1, [], 0) == (created(vast), rentals(), spent(tmp_path / "run")[1])
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 0.5})
    vast.faults.append(Fault(*DESTROY, 500, 999))
    stubborn = renter(pace={"destroy": 0.5, "lease": 60})
    run(tmp_path / "other", stubborn)
    run(tmp_path / "other", stubborn)
    assert "the job is done, and it is not known" not in capfd.readouterr().err  # that it is there is said louder
    assert (2, 1, 1) == (created(vast), len(vast.living()), len(rentals()))
    vast.faults.clear()
    run(tmp_path / "other", stubborn)
    assert (2, [], [], 0) == (created(vast), vast.living(), rentals(), spent(tmp_path / "other")[1])


def test_a_machine_that_does_not_take_the_renewal_of_its_lease_is_left_before_it_ends(
    vast, tmp_path, monkeypatch, capfd
):
    """It would destroy itself under the work, and the next one too."""
    monkeypatch.setattr("text2expert.runners.vast.deadman.renewal", lambda **_: "exit 7")
    with pytest.raises(RunnerError, match="does not take renewals of its lease"):
        run(tmp_path / "run", renter(tries=2, pace={"lease": 30}), steps=400)
    assert ["owner", "owner"] == [each.destroyed_by for each in vast.instances.values()]
    assert "does not take the renewal of its lease (exit code 7)" in capfd.readouterr().err


# Machines that are of no use


def test_machines_that_never_get_ready_exit_or_refuse_lead_to_the_next_offer(vast, tmp_path):
    """One after another, never two at a time, and none of them twice."""
    vast.bad.update({100: "never_ready", 101: "dead", 102: "no_ssh"})
    run(tmp_path / "run", renter(tries=4, pace={"ready": 4}))
    machines = list(vast.instances.values())
    assert [100, 101, 102, 103] == [each.offer["id"] for each in machines]
    assert all(a.ended <= b.began for a, b in pairwise(machines))
    assert vast.bill() <= spent(tmp_path / "run")[0]


def test_a_machine_that_takes_no_files_is_left_for_another_one(vast, tmp_path):
    """Its disk is full: that is no failure of the job."""
    vast.bad[100] = "full"
    run(tmp_path / "run")
    assert [100, 101] == [each.offer["id"] for each in vast.instances.values()]
    assert vast.living() == []


def test_the_tries_end(vast, tmp_path):
    vast.bad.update(dict.fromkeys(range(100, 108), "dead"))
    with pytest.raises(RunnerError, match="2 machines were rented and none finished"):
        run(tmp_path / "run", renter(tries=2))
    assert (2, []) == (created(vast), vast.living())


def test_a_stage_that_fails_is_not_tried_on_another_machine(vast, tmp_path):
    with pytest.raises(RunnerError, match="the loss is nan"):
        run(tmp_path / "run", fails=1)
    assert (1, [], []) == (created(vast), vast.living(), rentals())


# Offers


def test_what_a_job_takes_follows_its_base(vast):
    """A larger one, one that is sent from here, and one for which the base writes samples take longer; and room."""

    def best(**needs):
        job = Job(id="j", folder=".", stages=(), needs=Needs(tokens=1_000_000, **needs))
        return asyncio.run(renter().offers(job))[0]

    usual, small = best(), best(base_gb=3.0)
    assert (25.0, 12.0) == (usual.gigabytes, small.gigabytes)
    assert usual.hours - small.hours == pytest.approx(13 * 8e3 / 800 / 3600)
    sent = best(base_gb=3.0, sends_base=True)
    assert sent.hours - small.hours == pytest.approx(3 * 8e3 * (1 / 50 - 1 / 800) / 3600)
    assert best(seconds=1000.0).hours - best(seconds=400.0).hours == pytest.approx(600 / 3600)
    assert best(disk_gb=170.0)  # of 200, and 25 for the image
    with pytest.raises(IndexError):
        best(disk_gb=180.0)


def test_the_disk_is_as_large_as_the_job_needs_it(vast, tmp_path):
    """It cannot grow later."""
    (tmp_path / "run").mkdir()
    asyncio.run(renter().run(attrs.evolve(job_in(tmp_path / "run", steps=2), needs=Needs(disk_gb=170.0))))
    run(tmp_path / "other")
    assert [195.0, 80.0] == [each.disk_gb for each in vast.instances.values()]


# Keys, and what goes to the machine


def test_the_key_of_a_machine_destroys_it_and_does_nothing_else(vast):
    """As Vast has it; else these tests would not see what needs the user's key."""
    machine = vast.rent(vast.offers[5], f"text2expert/x/{'b' * 12}/1", "true")
    other = vast.rent(vast.offers[6], f"text2expert/x/{'c' * 12}/1", "true")
    its_own = Account(machine.key, vast.url)
    for call in (
        its_own.listed(),
        its_own.show(machine.id),
        its_own.rename(machine.id, "x"),
        its_own.destroy(other.id),
    ):
        with pytest.raises(AuthenticationFailed):
            asyncio.run(call)
    asyncio.run(its_own.destroy(machine.id))
    assert [other] == vast.living()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://console.vast.ai", "https://console.vast.ai@evil.example"]
)
def test_a_key_of_the_environment_goes_to_vast_alone(monkeypatch, url):
    monkeypatch.setenv("VAST_API_KEY", "secret")
    with pytest.raises(InputError, match="no key of the environment goes there"):
        Account(url=url)
    assert account.HOME == Account().url


@pytest.mark.parametrize(
    "label",
    ["", "text2expert", "text2expert/job/x/1", f"text2expert/job/{'a' * 12}/soon", f"other/job/{'a' * 12}/1",
     f"text2expert/a/b/{'a' * 12}/1", f"my text2expert/job/{'a' * 12}/1"],
)  # fmt: skip
def test_labels_of_others_are_none_of_ours(label):
    assert token_of(label) is None


def test_a_label_says_whose_it_is_and_until_when():
    rental = Rental(token="0123456789ab", job="job", folder="f", url="u", begun=1.0, lease_until=99.9)
    assert ("job", "0123456789ab", 99.0) == token_of(rental.label)


def test_the_start_script_fits_and_can_be_run():
    text = script(place="~/.text2expert/0123456789ab", url="https://console.vast.ai", lease_s=900, limit_s=1e7)
    assert len(text) <= LONGEST
    assert subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0
    assert re.search(r"U=https://console\.vast\.ai/api/v0/instances/\$CONTAINER_ID/", text)


# -- the account ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}\r\n"])
def test_line_ends_around_a_key_are_no_part_of_it(vast, key):
    assert asyncio.run(Account(key, vast.url).listed()) == []


@pytest.mark.parametrize("key", ["sk-secret\rmore", "sk secret", "schlüssel-secret", " \n"])
def test_what_cannot_be_a_key_is_not_repeated(vast, key):
    with pytest.raises(AuthenticationFailed) as caught:
        Account(key, vast.url)
    assert "secret" not in str(caught.value)


def test_a_list_is_never_gone(vast):
    """Whoever looks for a machine and finds no list has not found that there is none."""
    vast.faults.append(Fault(*LIST, 404))
    own = Account(KEY, vast.url, seconds=0.1)
    with pytest.raises(account.Unclear, match="the list of machines cannot be had"):
        asyncio.run(own.listed())
