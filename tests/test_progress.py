"""How a bar looks in a terminal: what a run says beside it is what somebody watches it for."""

import contextlib
import io
import os
from types import SimpleNamespace

import pytest

from text2expert import Pipeline, _progress

SAID = {"spent": "$12.34/~$56.78", "open": 64, "ok": "90%"}


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
    assert "spent=$12.34/~$56.78, open=64" in line
    assert "1234/4400" in line
    assert len(line) <= columns


def test_a_training_says_all_at_eighty_columns(drawn):
    said = {"left": "08:39", "loss": "1.235", "tok/s": "2,413", "peak": "7.4GB"}
    line = drawn(80, clock=False, total=220, done=100, **said)
    assert line.endswith("100/220, left=08:39, loss=1.235, tok/s=2,413, peak=7.4GB")
    assert line.count("|") == 2


def test_no_rate_stands_in_the_way(drawn):
    assert "call/s" not in drawn(120, **SAID) + drawn(80, **SAID)


def test_the_bar_of_chunking_is_filled_up(tmp_path, monkeypatch):
    """Blank lines at the end of a text are in no chunk, and are counted all the same."""
    seen = {}

    @contextlib.contextmanager
    def bar(total, description, *, unit):
        counts = seen.setdefault(description, [total])
        yield SimpleNamespace(update=lambda n=1: counts.append(n), set_postfix=lambda *_, **__: None)

    monkeypatch.setattr("text2expert.pipeline.bar", bar)
    text = tmp_path / "pumps.txt"
    text.write_text("1. LIMITS\n\nThe oil temperature must not exceed 80 °C.\n\n\n", encoding="utf-8")
    Pipeline().run(text, out=tmp_path / "run", fine_tune=False)
    total, *counts = seen["Chunking"]
    assert total == sum(counts)
