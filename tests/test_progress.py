"""How a bar looks in a terminal: what a run says beside it is what somebody watches it for."""

import io
import os

import pytest

from text2expert import _progress
from text2expert.chunker import Chunker
from text2expert.records import Document

SAID = {"spent": "$12.34 of ~$56.78", "in_flight": 64, "ok": "90%"}


class Terminal(io.StringIO):
    """Standard error of somebody who looks."""

    def isatty(self):
        return True


@pytest.fixture
def drawn(monkeypatch):
    """What a bar of so many columns says in its last line."""

    def drawn(columns, *, clock=True, total=4_400, done=1_234, **said):
        monkeypatch.setattr("sys.stderr", Terminal())
        monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
        with _progress.bar(total, "Teaching", unit="call") as shown:
            shown.dynamic_ncols, shown.ncols = None, columns
            shown.bar_format = _progress.layout(clock=clock)
            shown.n = done
            return str((shown.set_postfix(said, refresh=False), shown)[1])

    return drawn


@pytest.mark.parametrize("columns", [80, 120])
def test_money_and_requests_are_seen_whole(drawn, columns):
    """Of a run of thousands of calls, too, at the width that terminals open with."""
    line = drawn(columns, **SAID)
    assert "spent=$12.34 of ~$56.78, in_flight=64" in line
    assert "1234/4400" in line
    assert len(line) <= columns


def test_a_training_says_all_at_eighty_columns(drawn):
    said = {"left": "08:39", "loss": "1.235", "tok/s": "2,413", "peak": "7.4GB"}
    line = drawn(80, clock=False, total=220, done=100, **said)
    assert line.endswith("100/220, left=08:39, loss=1.235, tok/s=2,413, peak=7.4GB")
    assert line.count("|") == 2


def test_no_rate_stands_in_the_way(drawn):
    assert "call/s" not in drawn(120, **SAID) + drawn(80, **SAID)


def test_the_chunks_of_a_text_end_before_its_last_blank_lines():
    """So the bar of chunking is filled up at the end of each document."""
    text = "The pump is stopped at 80 °C.\n\n\n"
    assert Chunker().split(Document.from_text(text, id="pumps"))[-1].end < len(text)
