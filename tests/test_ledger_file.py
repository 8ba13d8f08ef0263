"""What a ledger is on the disk: killed processes, batches, locks, damage, full disks."""

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import ANSWER, on_a_loop, waits

from text2expert.errors import BudgetExhausted, LedgerError
from text2expert.ledger import Ledger, budget

ROOT = Path(__file__).parents[1]


def child(script, folder):
    """A process of its own that runs *script*, once it said that it is ready."""
    preamble = f"""
import asyncio, os, signal, sys, time
from decimal import Decimal
sys.path.insert(0, {str(Path(__file__).parent)!r})
from ledgers import ANSWER
from text2expert.ledger import Ledger, budget
folder = {str(folder)!r}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", preamble + script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=ROOT, text=True
    )
    line = process.stdout.readline()
    assert "ready\n" == line
    return process


def end(process):
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def left_behind(folder, to):
    """What a process that is killed now would leave of the ledger in *folder*."""
    to.mkdir()
    for path in folder.glob("ledger.sqlite*"):
        shutil.copy(path, to)
    return to


HOLDS_AND_SETTLES = """
async def main():
    book = Ledger(folder)
    with budget("teacher", 10):
        book.settle(await book.hold("settled", Decimal(1)), ANSWER, Decimal("0.25"))
        book.release(await book.hold("released", Decimal(1)))
        await book.hold("under way", Decimal(3))
        await book.hold("parked", Decimal(1), batch=True)
        await book.hold("in a batch", Decimal(2), batch=True)
        book.name_batch(book.open_batch(["in a batch"]), "msgbatch_1")
    print("ready", flush=True)
    time.sleep(60)
asyncio.run(main())
"""


@on_a_loop
async def test_what_a_killed_process_had_under_way_is_booked_as_lost(tmp_path):
    end(child(HOLDS_AND_SETTLES, tmp_path))
    with Ledger(tmp_path) as book, budget("teacher", 10):
        spent = book.spent("teacher")
        assert (Decimal("0.25"), Decimal(3), Decimal(2)) == (spent.settled, spent.lost, spent.held)
        assert (2, 1) == (spent.calls, spent.replies)
        assert ANSWER.text == book.reply("settled").text
        assert ["msgbatch_1"] == [batch.remote_id for batch in book.open_batches()]
        with pytest.raises(BudgetExhausted):
            await book.hold("more", Decimal(7))
    with Ledger(tmp_path) as book:
        assert spent == book.spent("teacher")


LOSES_A_RACE = """
async def main():
    book = Ledger(folder)
    print("ready", flush=True)
    for n in range(10**6):
        hold = await book.hold(f"{n}", Decimal(1))
        print("held", n, flush=True)
        book.settle(hold, ANSWER, Decimal("0.5"))
        print("settled", n, flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 173])
def test_a_process_killed_at_any_moment_leaves_what_it_said_it_booked(tmp_path, lines):
    process = child(LOSES_A_RACE, tmp_path)
    said = [process.stdout.readline().split() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    said += [line.split() for line in process.stdout if line.endswith("\n")]
    end(process)
    said = [line for line in said if len(line) == 2]
    held, settled = ([int(n) for what, n in said if what == word] for word in ("held", "settled"))
    with Ledger(tmp_path) as book:
        spent = book.spent()
        # The last word may have been lost with the process.
        assert len(settled) <= spent.replies <= len(settled) + 1
        assert len(held) <= spent.calls <= len(held) + 1
        assert spent.replies / Decimal(2) + (spent.calls - spent.replies) == spent.total
        assert all(book.reply(f"{n}") is not None for n in settled)


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path):
    process = child("book = Ledger(folder); book._writable(); print('ready', flush=True); sys.stdin.read()", tmp_path)
    try:
        with (
            Ledger(tmp_path) as book,
            pytest.raises(LedgerError, match=f"in use by pid {process.pid} on host .*: wait"),
        ):
            book.reply("k")
    finally:
        end(process)
    with Ledger(tmp_path) as book:
        assert book.reply("k") is None


@on_a_loop
async def test_a_ledger_that_was_busy_can_be_used_when_it_is_free(tmp_path):
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    await first.hold("a", Decimal(1))
    with pytest.raises(LedgerError, match=f"pid {os.getpid()} .*share one Ledger"):
        second.spent()
    first.close()
    assert Decimal(1) == second.spent().lost
    second.close()


@on_a_loop
async def test_sqlite_itself_refuses_a_second_process_where_files_cannot_be_locked(tmp_path):
    with Ledger(tmp_path) as book:
        await book.hold("a", Decimal(1))
        (tmp_path / ".ledger.sqlite.lock").unlink()
        with Ledger(tmp_path) as other, pytest.raises(LedgerError, match="another process is using it: wait"):
            other.reply("a")


def test_a_forked_child_cannot_touch_it_and_its_end_changes_nothing(tmp_path):
    with Ledger(tmp_path) as book:
        hold = asyncio.run(book.hold("a", Decimal(1)))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                book.release(hold)
            except LedgerError as error:
                book.close()
                code = 0 if "parent" in str(error) else 2
            finally:
                os._exit(code)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with Ledger(tmp_path) as other, pytest.raises(LedgerError, match="in use"):
            other.reply("a")
        book.settle(hold, ANSWER, Decimal(1))


@on_a_loop
async def test_only_its_owner_may_read_it(tmp_path):
    mask = os.umask(0)
    try:
        with Ledger(tmp_path / "new" / "run") as book:
            await book.hold("a", Decimal(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in book.path.parent.iterdir()}
            assert {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, ".ledger.sqlite.lock": 0o600} == modes
            assert 0o700 == stat.S_IMODE(book.path.parent.stat().st_mode)
    finally:
        os.umask(mask)


@on_a_loop
async def test_a_folder_can_be_moved(tmp_path):
    with Ledger(tmp_path / "a b?#%20") as book:
        book.settle(await book.hold("k", Decimal(1)), ANSWER, Decimal(1))
    (tmp_path / "a b?#%20").rename(tmp_path / "moved")
    with Ledger(tmp_path / "moved") as book:
        assert ANSWER.text == book.reply("k").text


@pytest.mark.parametrize(
    "damage", [b"", b"nothing that a database would begin with" * 30, None], ids=["empty", "garbage", "cut"]
)
@on_a_loop
async def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path, damage):
    with Ledger(tmp_path) as book:
        for n in range(50):
            book.settle(await book.hold(f"{n}", Decimal(1)), ANSWER, Decimal(1))
    whole = book.path.read_bytes()
    damage = whole[: len(whole) // 2] if damage is None else damage
    book.path.write_bytes(damage)
    with Ledger(tmp_path) as book:
        for _ in range(2):
            with pytest.raises(LedgerError, match=r"ledger\.sqlite.* is .*(damaged|empty|not a ledger).*move it away"):
                await book.hold("a", Decimal(1))
    assert damage == book.path.read_bytes()
    book.path.write_bytes(whole)
    with Ledger(tmp_path) as book:
        assert Decimal(50) == book.spent().settled


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE calls SET usd = 'much'", "damaged"),
        ("DROP TABLE replies", "damaged"),
        ("PRAGMA user_version = 99", "newer version .*upgrade"),
        ("PRAGMA application_id = 7", "not a ledger"),
    ],
)
@on_a_loop
async def test_a_file_that_is_not_what_it_should_be_is_refused(tmp_path, change, words):
    with Ledger(tmp_path) as book:
        book.lose(await book.hold("a", Decimal(1)))
    connection = sqlite3.connect(book.path)
    connection.execute(change)
    connection.commit()
    connection.close()
    with Ledger(tmp_path) as book, pytest.raises(LedgerError, match=words):
        book.reply("a")


@on_a_loop
async def test_a_full_disk_is_said_and_what_was_under_way_stays_held(tmp_path):
    with Ledger(tmp_path) as book, budget("", 5):
        hold = await book.hold("a", Decimal(5))
        waiting = asyncio.create_task(book.hold("b", Decimal(1)))
        await waits(waiting)
        connection = book._file._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        large = ANSWER.text * 10**5
        for _ in range(2):
            with pytest.raises(
                LedgerError, match="disk is full: free some space and run again; what was paid for is kept"
            ):
                book.settle(hold, type(ANSWER)(text=large, usage=None, finish="stop"), Decimal(1))
        assert (Decimal(5), Decimal(0)) == (book.spent().held, book.spent().settled)
        assert await waits(waiting)
        connection.execute(f"PRAGMA max_page_count = {pages * 1000}")
        book.settle(hold, type(ANSWER)(text=large, usage=None, finish="stop"), Decimal(1))
        await waiting


@on_a_loop
async def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with Ledger(tmp_path) as book:
        await book.hold("a", Decimal(1))
        book._file._connection.execute("PRAGMA query_only = ON")
        with pytest.raises(LedgerError, match=r"cannot be written: change its mode"):
            await book.hold("b", Decimal(1))
        assert Decimal(1) == book.spent().held


@pytest.mark.parametrize("name", ["file/run", "/proc/nobody/run", "folder"])
@on_a_loop
async def test_a_folder_that_cannot_be_used_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "ledger.sqlite").mkdir(parents=True)
    with Ledger(tmp_path / name) as book, pytest.raises(LedgerError, match=name):
        await book.hold("a", Decimal(1))


@on_a_loop
async def test_where_a_write_ahead_log_cannot_be_had_a_rollback_journal_does(tmp_path, monkeypatch):
    class Connection(sqlite3.Connection):
        def execute(self, sql, *values):
            if "WAL" in sql:
                error = sqlite3.OperationalError("unable to open database file")
                error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
                raise error
            return super().execute(sql, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more, factory=Connection))
    with Ledger(tmp_path / "a") as book:
        book.settle(await book.hold("k", Decimal(1)), ANSWER, Decimal("0.5"))
        await book.hold("lost", Decimal(1))
        assert not (tmp_path / "a" / "ledger.sqlite-wal").exists()
        copy = left_behind(tmp_path / "a", tmp_path / "b")
    with Ledger(copy) as book:
        assert (Decimal("0.5"), Decimal(1)) == (book.spent().settled, book.spent().lost)


# Batches


async def batch_of(book, *keys, usd=Decimal(1)):
    holds = [await book.hold(key, usd, batch=True) for key in keys]
    return book.open_batch(keys), holds


@on_a_loop
async def test_a_batch_of_a_killed_process_is_found_and_its_holds_are_taken_over(tmp_path):
    with Ledger(tmp_path / "a") as book, budget("verifier", 5):
        number, (hold, _) = await batch_of(book, "a", "b")
        book.name_batch(number, "msgbatch_1")
        copy = left_behind(tmp_path / "a", tmp_path / "b")
    with Ledger(copy) as book, budget("verifier", 2):
        (batch,) = book.open_batches()
        assert (number, "msgbatch_1", ("a", "b")) == (
            batch.id,
            batch.remote_id,
            tuple(each.key for each in batch.holds),
        )
        # There is no room for another, and none is needed.
        again = await book.hold("a", Decimal(1), batch=True)
        assert hold == again
        book.settle(again, ANSWER, Decimal("0.25"))
        book.settle(batch.holds[1], ANSWER, Decimal("0.25"))
        book.close_batch(number)
        assert [] == book.open_batches()
        assert (Decimal("0.5"), Decimal(0), Decimal(0)) == (
            book.spent("verifier").settled,
            book.spent().lost,
            book.spent().held,
        )


@on_a_loop
async def test_who_asks_outside_a_batch_pays_for_itself(tmp_path):
    with Ledger(tmp_path / "a") as book:
        await batch_of(book, "a")
        copy = left_behind(tmp_path / "a", tmp_path / "b")
    with Ledger(copy) as book:
        book.settle(await book.hold("a", Decimal(2)), ANSWER, Decimal(2))
        assert (Decimal(2), Decimal(1)) == (book.spent().settled, book.spent().held)
        assert ["a"] == [hold.key for hold in book.open_batches()[0].holds]


@on_a_loop
async def test_a_batch_whose_id_was_not_stored_is_found_too(tmp_path):
    with Ledger(tmp_path) as book:
        await batch_of(book, "a")
    with Ledger(tmp_path) as book:
        assert [None] == [batch.remote_id for batch in book.open_batches()]


@on_a_loop
async def test_only_what_is_held_for_a_batch_can_be_sent_in_one(tmp_path):
    with Ledger(tmp_path) as book:
        await book.hold("plain", Decimal(1))
        await book.hold("a", Decimal(1), batch=True)
        for keys in ([], ["plain"], ["a", "unknown"], ["a", "a"]):
            with pytest.raises(LedgerError, match=r"have no hold: hold each with batch=True"):
                book.open_batch(keys)
        number = book.open_batch(["a"])
        with pytest.raises(LedgerError, match="1 of 1"):
            book.open_batch(["a"])
        with pytest.raises(LedgerError, match=f"no open batch {number + 1}"):
            book.name_batch(number + 1, "x")
        with pytest.raises(LedgerError, match="no open batch"):
            book.close_batch(number + 1)


@on_a_loop
async def test_a_request_that_is_interrupted_in_a_batch_stays_held_until_the_batch_is_closed(tmp_path):
    with Ledger(tmp_path) as book:
        number, holds = await batch_of(book, "a", "b", "c")
        for hold in holds:
            book.lose(hold)
            book.lose(hold)
        assert (Decimal(0), Decimal(3)) == (book.spent().lost, book.spent().held)
        assert holds[0] == await book.hold("a", Decimal(1), batch=True)
        book.settle(holds[1], ANSWER, Decimal("0.5"))
        book.close_batch(number)
        # Somebody waits for a, and is to say what became of it.
        assert (Decimal(1), Decimal(1)) == (book.spent().lost, book.spent().held)
        book.lose(holds[0])
        assert (Decimal(2), Decimal(0), Decimal("0.5")) == (
            book.spent().lost,
            book.spent().held,
            book.spent().settled,
        )


@on_a_loop
async def test_a_request_that_is_interrupted_before_its_batch_is_sent_costs_nothing(tmp_path):
    with Ledger(tmp_path) as book:
        book.lose(await book.hold("a", Decimal(1), batch=True))
        assert (Decimal(0), Decimal(0)) == (book.spent().lost, book.spent().held)
        await batch_of(book, "a")


@on_a_loop
async def test_room_that_only_an_uncollected_batch_takes_up_is_not_waited_for_in_vain(tmp_path, monkeypatch):
    monkeypatch.setattr("text2expert.ledger.book._PATIENCE_S", 0.05)
    with Ledger(tmp_path) as book:
        await batch_of(book, "a", usd=Decimal(2))
    with Ledger(tmp_path) as book, budget("", 3):
        with pytest.raises(BudgetExhausted, match=r"\$2 is held by a batch .*batch=True"):
            await book.hold("b", Decimal(2))
        waiting = asyncio.create_task(book.hold("b", Decimal(2)))
        await waits(waiting)
        hold = await book.hold("a", Decimal(2), batch=True)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        book.settle(hold, ANSWER, Decimal(1))
        await waiting


@on_a_loop
async def test_room_of_a_batch_that_somebody_collects_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("text2expert.ledger.book._PATIENCE_S", 0.05)
    with Ledger(tmp_path) as book:
        await batch_of(book, "a", usd=Decimal(2))
    with Ledger(tmp_path) as book, budget("", 3):
        (batch,) = book.open_batches()
        waiting = asyncio.create_task(book.hold("b", Decimal(2)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        book.close_batch(batch.id)
        with pytest.raises(BudgetExhausted):
            await waiting


@on_a_loop
async def test_a_batch_that_was_collected_holds_nothing_any_more(tmp_path):
    with Ledger(tmp_path) as book:
        await batch_of(book, "a", "b", usd=Decimal(2))
    with Ledger(tmp_path) as book, budget("", 3):
        (batch,) = book.open_batches()
        book.settle(batch.holds[0], ANSWER, Decimal(1))
        book.close_batch(batch.id)
        assert (Decimal(1), Decimal(2), Decimal(0)) == (book.spent().settled, book.spent().lost, book.spent().held)
        with pytest.raises(
            BudgetExhausted,
            match=r"\$3 is spent \(of it \$2 at most for answers that were lost\), and the request may cost \$0\.5\. Raise",
        ):
            await book.hold("c", Decimal("0.5"))


@given(st.lists(st.sampled_from(["hold", "park", "send", "settle", "release", "lose", "close", "kill"]), max_size=25))
@settings(max_examples=25)
def test_no_cent_is_forgotten_when_it_is_killed_at_any_step(tmp_path_factory, actions):
    """Every hold is open, or its whole or its cost is booked, unless it was released or never sent."""
    base = tmp_path_factory.mktemp("killed")

    async def go():
        book, plain, parked, sent, number = Ledger(base / "0"), [], [], [], None
        lost = settled = Decimal(0)
        for n, action in enumerate(actions):
            usd = Decimal(2) ** n
            if action == "hold":
                plain.append(await book.hold(f"{n}", usd))
            elif action == "park":
                parked.append(await book.hold(f"{n}", usd, batch=True))
            elif action == "send" and parked and number is None:
                number, sent, parked = book.open_batch([hold.key for hold in parked]), parked, []
            elif action in ("settle", "release", "lose") and plain:
                hold = plain.pop()
                getattr(book, action)(hold, *((ANSWER, hold.usd / 2) if action == "settle" else ()))
                settled += hold.usd / 2 if action == "settle" else 0
                lost += hold.usd if action == "lose" else 0
            elif action == "close" and number is not None:
                book.close_batch(number)
                plain, sent, number = plain + sent, [], None
            elif action == "kill":
                copy = left_behind(book.path.parent, base / f"{n + 1}") if book.path.exists() else base / f"{n + 1}"
                book.close()
                book = Ledger(copy)
                lost += sum(hold.usd for hold in plain)
                plain, parked = [], []
                sent = [await book.hold(hold.key, hold.usd, batch=True) for hold in sent]
            spent = book.spent()
            open_usd = sum((hold.usd for hold in plain + parked + sent), Decimal(0))
            assert (settled, lost, open_usd) == (spent.settled, spent.lost, spent.held)
        book.close()

    asyncio.run(go())
