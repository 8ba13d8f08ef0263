"""What may come back from a stranger's machine."""

import json
import pickle  # noqa: TID251 - what must never be loaded is made here

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from text2expert.errors import RunnerError
from text2expert.runners import receiving

GB = 1 << 30


@pytest.fixture
def arrived(tmp_path):
    """Writes what arrived, and has it looked at under a name."""

    def check(name, content):
        path = tmp_path / "0"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        receiving.check_content(path, name)

    return check


@pytest.mark.parametrize(
    "name",
    [
        "expert/adapter_model.safetensors",
        "stages/train/checkpoint-00000100/state.json",
        "stages/before/answers.jsonl",
        "expert/chat_template.jinja",
        "expert/merges.txt",
        "_x/Y-1.0.json",
    ],
)
def test_names_of_results_are_taken(name):
    """As the recipes write them."""
    assert str(receiving.check_name(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd.json",
        "../outside.json",
        "expert/../../outside.json",
        "expert/./adapter_config.json",
        "expert//adapter_config.json",
        "expert/",
        "expert/.hidden.json",
        ".ssh/authorized_keys.txt",
        "-rf/x.json",
        "expert\\..\\x.json",
        "C:\\x.json",
        "C:x.json",
        "expert/a b.json",
        "expert/x.json\n",
        "expert/x\x00.json",
        "expert/\x1b[2J.json",
        "expert/\u202enosj.txt",
        "expert/ä.json",
        "expert/$(reboot).json",
        "x" * 300 + ".json",
    ],
)
def test_other_names_are_refused(name):
    """Traversal, absolute and hidden paths, and what a shell, a terminal or a file system could take for something else."""
    with pytest.raises(RunnerError, match="no plain name") as caught:
        receiving.check_name(name)
    assert str(caught.value).isprintable()


@given(st.text(max_size=60))
def test_no_name_leads_out_of_the_folder(name):
    """Whatever passes is relative, without dots alone, and means the same to every file system."""
    try:
        path = receiving.check_name(name)
    except RunnerError:
        return
    assert not path.is_absolute()
    assert str(path) == name
    assert all(part.isascii() and part.strip(".") for part in path.parts)


def test_a_file_of_another_kind_is_left_there_when_its_safe_form_comes():
    """Tokenizers are often saved in two forms, and a card beside them."""
    names = [
        "expert/adapter_model.safetensors",
        "expert/tokenizer.json",
        "expert/tokenizer.model",
        "expert/README.md",
    ]
    assert receiving.left_there(names, ["expert"]) == ["expert/README.md", "expert/tokenizer.model"]


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (["expert/adapter_model.bin", "expert/adapter_config.json"], "expert/adapter_model.bin"),
        (["expert/adapter_model.bin", "other/adapter_model.safetensors"], "expert/adapter_model.bin"),
        (["expert/weights.pt"], "expert/weights.pt"),
        (["expert/tokenizer.model", "expert/tokenizer_config.json"], "expert/tokenizer.model"),
        (["stages/before/answers.pkl"], "stages/before/answers.pkl"),
        (["stages/before/answers.py"], "stages/before/answers.py"),
    ],
)
def test_a_file_in_the_place_of_something_needed_is_an_error(names, refused):
    """Left there, it would be missing later, with a worse message."""
    with pytest.raises(RunnerError, match=f"sent {refused}: files of this kind are not taken"):
        receiving.left_there(names, ["expert", "other", "stages/before/answers.pkl", "stages/before/answers.py"])


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["expert/a.json", "other/a.json"], ["expert"]),
        (["expertise/a.json"], ["expert"]),
        (["stages/train/job.json"], ["stages/train/done.json"]),
        (["stages/train/done.json/x.json"], ["stages/train/done.json"]),
        (["expert/a.json", "expert/a.json/b.json"], ["expert"]),
    ],
)
def test_what_nobody_asked_for_is_refused(names, wanted):
    """It would overwrite what lies here, or stand as a folder where a file is read."""
    with pytest.raises(RunnerError, match=r"nobody asked for|inside of a file"):
        receiving.check_names(names, wanted)


def test_what_is_missing_is_an_error():
    """Zero results are a failure, never a success."""
    with pytest.raises(RunnerError, match="has no expert"):
        receiving.check_names(["stages/before/answers.jsonl"], ["stages/before/answers.jsonl", "expert"])
    with pytest.raises(RunnerError, match="has no expert"):
        receiving.check_names([], ["expert"])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"expert/adapter_model.safetensors": 50 * GB}, "50 GB"),
        ({"stages/train/done.json": 65 << 20}, "a JSON file that would take gigabytes when it is read"),
        ({"expert/loss.svg": 65 << 20}, "a picture"),
        ({"stages/before/answers.jsonl": GB}, "text"),
        ({"x.json": -1}, "less than nothing"),
        ({f"{n}.safetensors": 4 * GB for n in range(4)}, "together"),
        ({f"{n}.json": 1 for n in range(1001)}, "many"),
    ],
)
def test_more_than_a_stage_makes_is_refused_before_a_byte_is_fetched(sizes, words):
    """By what the machine itself says; what it sends beyond that is not read."""
    with pytest.raises(RunnerError, match=r"may come back|no stage makes so many"):
        receiving.check_sizes(sizes)


def test_large_but_plausible_results_may_come():
    """An adapter of rank 256 with its moments, and the largest tokenizer."""
    receiving.check_sizes({"a.safetensors": GB, "b.safetensors": 3 * GB, "t.json": 35 << 20, "log.jsonl": 200 << 20})


def test_weights_are_taken(arrived, tmp_path):
    """As safetensors writes them."""
    save_file({"lora_A": np.ones((4, 2), dtype="float32")}, tmp_path / "weights")
    arrived("expert/adapter_model.safetensors", (tmp_path / "weights").read_bytes())


class Trap:
    """Unpickled, it would leave a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "done.json", "answers.jsonl", "merges.txt", "loss.svg"])
def test_a_pickle_under_any_name_is_refused_and_not_opened(arrived, tmp_path, name):
    """It runs code when it is unpickled, and nothing does that."""
    with pytest.raises(RunnerError, match=f"sent as {name} is no "):
        arrived(name, pickle.dumps(Trap(tmp_path / "trace")) + b"\xff")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_cut_weights_are_refused(arrived, tmp_path, cut):
    """Their header accounts for every byte."""
    save_file({"lora_A": np.ones((4, 2), dtype="float32")}, tmp_path / "weights")
    with pytest.raises(RunnerError, match="no safetensors file"):
        arrived("adapter_model.safetensors", (tmp_path / "weights").read_bytes()[:cut])


def test_weights_with_something_behind_them_are_refused(arrived, tmp_path):
    """There a program could be hidden."""
    save_file({"lora_A": np.ones((4, 2), dtype="float32")}, tmp_path / "weights")
    with pytest.raises(RunnerError, match="no safetensors file"):
        arrived("adapter_model.safetensors", (tmp_path / "weights").read_bytes() + b"#!/bin/sh")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("done.json", "[" * 200_000),
        ("done.json", "{" * 200_000),
        ("done.json", '{"a":' * 200_000),
        ("done.json", ""),
        ("done.json", "{"),
        ("done.json", b"\xff\xfe{}"),
        ("done.json", "9" * 10_000),
        ("answers.jsonl", '{}\n{"a":\n'),
        ("answers.jsonl", "[" * 200_000 + "\n"),
        ("answers.jsonl", b'{"a": "\xff"}\n'),
        ("merges.txt", b"\x80"),
    ],
)
def test_what_is_not_json_or_text_is_refused(arrived, name, content):
    """Deep nesting, numbers without end, broken encodings."""
    with pytest.raises(RunnerError, match=f"sent as {name} is no "):
        arrived(name, content)


def test_a_line_without_end_is_refused(arrived, monkeypatch):
    """It would be held in memory whole, as many times over as JSON takes."""
    monkeypatch.setattr(receiving, "LARGEST_LINE", 100)
    arrived("answers.jsonl", (json.dumps("x" * 90) + "\n") * 5)
    with pytest.raises(RunnerError, match="a line has more than 100 bytes"):
        arrived("answers.jsonl", json.dumps("x" * 100) + "\n")


LOGS = [
    [],
    [{"step": 1, "loss": 2.5}],
    [{"step": step, "loss": 3.0 / step} for step in range(1, 2000)],
    [{"step": step, "loss": 1e-7 * step, "validation": step / 40} for step in range(1, 40)],
    [{"step": 3, "loss": 123456.789, "validation": 0.0}],
]


@pytest.mark.parametrize("lines", LOGS)
def test_the_picture_that_a_training_draws_is_taken(arrived, recipes, lines):
    """Whatever its log was."""
    arrived("expert/loss.svg", recipes["plot"].loss_svg(lines))


HOSTILE = [
    '<script>fetch("https://x.example")</script>',
    "<script/>",
    '<image href="https://x.example/p.png"/>',
    '<text onload="alert(1)">x</text>',
    '<text\nonload="alert(1)">x</text>',
    '<text class="x"onload="alert(1)">x</text>',
    "<text class='x'>x</text>",
    '<a href="javascript:alert(1)"><text>x</text></a>',
    '<foreignObject><iframe src="https://x.example"></iframe></foreignObject>',
    '<animate attributeName="href" values="javascript:alert(1)"/>',
    '<use href="#x"/>',
    '<text style="background:url(https://x.example)">x</text>',
    "<style>text { fill: red }</style>",
    "<text>&x;</text>",
    "<![CDATA[<script>]]>",
    "<!-- -->",
    "<?xml-stylesheet href='https://x.example'?>",
    "<text>\x1b[2J</text>",
    "<title>\u202e</title>",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_picture_that_could_do_something_is_refused(arrived, recipes, hostile):
    """Opened in a browser, an SVG may run scripts and tell others that it was opened."""
    drawn = recipes["plot"].loss_svg(LOGS[1])
    for place in ("<text", "</svg>"):
        assert place in drawn
        with pytest.raises(RunnerError, match="not the picture that a training draws"):
            arrived("expert/loss.svg", drawn.replace(place, hostile + place, 1))


@pytest.mark.parametrize(
    "rule",
    [
        "@import 'https://x.example/s.css';",
        '@import "https://x.example/s.css";',
        "text { background: url(https://x.example/p.png) }",
        "text { fill: var(--x) }",
        "@font-face { src: url(x) }",
        "text { fill: \\75 rl }",
        "</style><script>alert(1)</script><style>",
    ],
)
def test_a_style_that_fetches_something_is_refused(arrived, recipes, rule):
    """Colours and widths need no functions."""
    drawn = recipes["plot"].loss_svg(LOGS[1])
    with pytest.raises(RunnerError, match="not the picture that a training draws"):
        arrived("expert/loss.svg", drawn.replace("</style>", f"{rule}\n</style>", 1))


@pytest.mark.parametrize(
    "before", ["<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>", "<?xml version='1.0'?>", " "]
)
def test_a_picture_has_nothing_before_it(arrived, recipes, before):
    """No entities, no style sheets of others."""
    with pytest.raises(RunnerError, match="not the picture that a training draws"):
        arrived("expert/loss.svg", before + recipes["plot"].loss_svg(LOGS[1]))


def test_a_picture_that_is_made_to_take_long_is_refused_at_once(arrived, recipes):
    """No way through the expression is tried twice."""
    drawn = recipes["plot"].loss_svg(LOGS[1])
    with pytest.raises(RunnerError, match="not the picture that a training draws"):
        arrived("expert/loss.svg", drawn.replace("</svg>", '<text class="' * 200_000))
