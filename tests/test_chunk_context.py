"""What travels with a chunk: the headings it stands under, a list's lead-in, a table's header row."""

import subprocess
import sys
from pathlib import Path

import pytest

from text2expert.chunker import Chunker, leadins
from text2expert.records import Chunk

FILLER = "The crew keeps a record of what was done and by whom, and the record is kept for a year. "


def headings_of(text: str, words: str) -> tuple[str, ...]:
    """The headings of the chunk that begins nearest above *words*, in small chunks without overlap."""
    chunks = Chunker(60, 0).split(text)
    place = text.index(words)
    return next(chunk.headings for chunk in reversed(chunks) if chunk.start <= place)


def sections(text: str) -> list[str]:
    """The first line of each section."""
    chunks = Chunker(100_000, 0).split(text)
    return [chunk.text.split("\n", 1)[0] for chunk in chunks]


# Headings.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("# One", "# Two"),
        ("## One", "## Two"),
        ("One\n===", "Two\n==="),
        ("The first part\n--------------", "The second\n----------"),
        ("SECTION 1. SCOPE", "SECTION 2. DUTIES"),
        ("Section 1: Scope", "Section 2: Duties"),
        ("CHAPTER I", "CHAPTER II"),
        ("Chapter One. The beginning", "Chapter Two. The end"),
        ("PART A. PRELIMINARY", "PART B. DUTIES"),
        ("Clause 7. Employees", "Clause 8. General rule"),
        ("Article 5 - Notices", "Article 6 - Law"),
        ("Schedule 1", "Schedule 2"),
        ("APPENDIX A. TABLES", "APPENDIX B. FORMS"),
        ("Annex 1", "Annex 2"),
        ("1. PURPOSE", "2. SCOPE"),
        ("1 Purpose", "2 Scope"),
        ("1. Purpose and scope", "2. Duties"),
        ("I. INTRODUCTION", "II. METHODS"),
        ("BEFORE ARRIVAL", "MAKING FAST"),
        ("     ARTICLE I", "     ARTICLE II"),
        ("Kapitel 1. Zweck", "Kapitel 2. Pflichten"),
        ("第一章 总则", "第二章 职责"),
    ],
)
@pytest.mark.parametrize("blank", ["\n\n", "\n"])
def test_kinds_of_headings(first: str, second: str, blank: str) -> None:
    """Each of them opens a section, with or without a blank line below."""
    if blank == "\n" and first == "BEFORE ARRIVAL":
        blank = "\n\n"
    text = f"Some words before.\n\n{first}{blank}{FILLER * 2}\n\n{second}{blank}{FILLER * 2}\n"
    assert ["Some words before.", first.strip().split("\n")[0], second.strip().split("\n")[0]] == sections(text)


@pytest.mark.parametrize(
    "line",
    [
        "1.1 This procedure sets out how ships are received, made fast, watched and let go.",
        "2. Remove the cover, and put it where nobody can fall over it;",
        "- SECTION 4. A BULLET",
        "    1      140          6.2                        50                9,000",
        "Quay   Length   Depth",
        "Section 4.1 for all patients without a target of their own.",
        "Section 15 covers groups for whom the general rules change,",
        "WARNING",
        "NOTE:",
        "THE END OF IT.",
        "2.5 mg every 4 hours is the first choice",
        "1. Purpose ........................ 4",
        "10 to 20 of them are enough",
        "|  A  |  B  |",
        "USD 5,000 | EUR 4,000",
        "----------",
    ],
)
def test_lines_that_are_no_headings(line: str) -> None:
    text = f"{FILLER * 2}\n\n{line}\n\n{FILLER * 2}\n\n{line}\n\n{FILLER}"
    assert all(chunk.headings == () for chunk in Chunker().split(text))
    assert len(sections(text)) == 1


def test_a_wrapped_sentence_is_no_heading() -> None:
    """Its first line looks like one, but was broken because the next word did not fit."""
    paragraph = (
        "16.1 A Hold overrides every period in this Policy, including the limits in\n"
        "Clause 10, and automatic deletion is switched off for the custodians'\n"
        "mailboxes within 24 hours.\n"
    )
    assert len(sections(f"{FILLER}\n\n{paragraph}\n{paragraph}\n{FILLER}")) == 1


def test_a_numbered_list_is_no_row_of_headings() -> None:
    items = "\n".join(f"{number}. Open valve {number}" for number in range(1, 9))
    assert len(sections(f"{FILLER}\n\n{items}\n\n{FILLER}")) == 1
    spread = items.replace("\n", "\n\n")
    assert len(sections(f"{FILLER}\n\n{spread}.\n\n{FILLER}")) == 1


def test_a_table_of_contents_opens_no_sections() -> None:
    contents = "\n".join(f"SECTION {n}. {'ABCDEF'[n] * 5}" for n in range(1, 5))
    body = "\n\n".join(f"SECTION {n}. {'ABCDEF'[n] * 5}\n\n{FILLER}" for n in range(1, 5))
    found = sections(f"THE MANUAL\n\n{FILLER}\n\n{contents}\n\n\n{body}")
    assert [f"SECTION {n}. {'ABCDEF'[n] * 5}" for n in range(1, 5)] == found[-4:]
    assert len(found) <= 6


def test_headings_nest_and_deeper_ones_do_not_open_sections() -> None:
    text = (
        f"PART A. GENERAL\n\nClause 1. Purpose\n{FILLER}\n\nClause 2. Scope\n{FILLER}\n\n"
        f"PART B. DUTIES\n\nClause 3. Board\n{FILLER}last words\n\nSCHEDULE 1. FORMS\n\n{FILLER}the form\n"
    )
    assert ["PART A. GENERAL", "PART B. DUTIES", "SCHEDULE 1. FORMS"] == sections(text)
    assert ("PART B. DUTIES", "Clause 3. Board") == headings_of(text, "last words")
    assert ("SCHEDULE 1. FORMS",) == headings_of(text, "the form")


def test_one_heading_above_all_others_is_the_title() -> None:
    text = f"# The manual\n\n{FILLER}\n\n## Purpose\n\n{FILLER}\n\n### Why\n\n{FILLER}why not\n\n## Scope\n\n{FILLER}\n"
    assert ["# The manual", "## Purpose", "## Scope"] == sections(text)
    assert ("The manual", "Purpose", "Why") == headings_of(text, "why not")


def test_a_numbered_paragraph_ends_the_numbered_heading_before_it() -> None:
    """4.4 is no part of "4.3 Tug requirement", though it has no heading of its own."""
    text = (
        f"4. BEFORE ARRIVAL\n\n4.2 {FILLER}\n\n4.3 Tug requirement\n\n{FILLER}tugs\n\n"
        f"4.4 No ship is berthed in a storm. {FILLER}storm\n\n5. LINESMEN\n\n{FILLER}\n"
    )
    assert ("4. BEFORE ARRIVAL", "4.3 Tug requirement") == headings_of(text, "tugs")
    assert ("4. BEFORE ARRIVAL",) == headings_of(text, "kept for a year. storm")


def test_headings_in_code_are_none() -> None:
    text = f"# One\n\n{FILLER}\n\n```\n\n# a comment\n\nrun\n```\n\n# Two\n\n{FILLER}"
    assert ["# One", "# Two"] == sections(text)


def test_capitals_are_above_numbers_that_begin_again() -> None:
    parts = "".join(f"{name}\n\n1. Purpose\n\n{FILLER}\n\n2. Scope\n\n{FILLER}\n\n" for name in ("FIRE", "FLOOD"))
    assert ["FIRE", "FLOOD"] == sections(parts)
    assert ("FLOOD", "2. Scope") == headings_of(parts + "the end", "the end")


def test_the_context_begins_with_the_path_of_headings() -> None:
    text = f"# One\n\n{FILLER}\n\n## Deep\n\n{FILLER * 20}\n\n# Two\n\n{FILLER}"
    middle = Chunker(300, 0).split(text)[4]
    assert ("One", "Deep") == middle.headings
    assert middle.context == "One > Deep"


# Lists.


def chunk_at(text: str, words: str, size: int = 120) -> Chunk:
    """The chunk in which *words* first stand."""
    return next(chunk for chunk in Chunker(size, size // 8).split(text) if words in chunk.text)


@pytest.mark.parametrize("bullet", ["- ", "* ", "• ", "  - ", "    * "])
@pytest.mark.parametrize(
    "lead", ["Do not:", "Never do any of these:", "After a fall the nurse must not:\n", "Do not: "]
)
@pytest.mark.parametrize("end", ["", ".", ";"])
def test_no_bullet_is_without_its_lead_in(bullet: str, lead: str, end: str) -> None:
    items = "\n".join(f"{bullet}move the patient number {n} without help from a colleague{end}" for n in range(1, 12))
    text = f"# Falls\n\n{FILLER}\n\n{lead}\n{items}\n\n{FILLER}And then.\n\n# End\n\n{FILLER}"
    for chunk in Chunker(150, 20).split(text):
        if "move the patient" in chunk.text:
            before = chunk.text[: chunk.text.index("move the patient")]
            assert lead.strip() in before or lead.strip() in chunk.context
            if lead.strip() in before:
                assert lead.strip() not in chunk.context


@pytest.mark.parametrize("label", ["(a)", "a)", "1.", "iv.", "(12)"])
def test_labelled_items_have_their_lead_in(label: str) -> None:
    items = "\n".join(f"{label} {FILLER}" for _ in range(10))
    text = f"# A\n\nThe lead-in of all:\n{items}\n\n# B\n\n{FILLER}"
    assert all(
        "The lead-in of all:" in c.context + c.text for c in Chunker(200, 30).split(text) if c.headings == ("A",)
    )


def test_a_wrapped_lead_in_is_given_whole_and_what_is_before_it_is_not() -> None:
    text = (
        f"# A\n\n{FILLER}\nAny one of the following, present for 15 minutes, is a failure\nand the patient is prepared:\n"
        + "\n".join(f"- sign number {n} of a failure that is not to be overlooked;" for n in range(9))
        + f"\n\n# B\n\n{FILLER}"
    )
    chunk = chunk_at(text, "sign number 7")
    lead = "Any one of the following, present for 15 minutes, is a failure and the patient is prepared:"
    assert f"A\n{lead}" == chunk.context


def test_a_nested_list_has_both_lead_ins() -> None:
    inner = "\n".join(f"  - the arm in the position number {n} of the plan" for n in range(8))
    text = (
        f"# A\n\nDo not:\n- walk alone\n- move:\n{inner}\n- touch anything that is wet, hot or sharp\n\n# B\n\n{FILLER}"
    )
    assert chunk_at(text, "number 6").context == "A\nDo not:\n- move:"
    assert chunk_at(text, "touch anything").context.startswith("A\nDo not:")


def test_items_apart_and_items_of_several_paragraphs_keep_the_lead_in() -> None:
    items = "\n\n".join(f"- {FILLER}\n\n  More of item {n}. {FILLER}" for n in range(6))
    text = f"# A\n\nDo not:\n\n{items}\n\n# B\n\n{FILLER}"
    for n in range(1, 6):
        assert "Do not:" in chunk_at(text, f"item {n}").context


def test_lines_without_bullets_have_the_lead_in_of_their_paragraph() -> None:
    lines = "\n".join(f"the reading number {n} of the instrument on the wall" for n in range(10))
    text = f"# A\n\n{FILLER}\n\nThe nurse records:\n{lines}\n\n{FILLER * 3}after all\n\n# B\n\n{FILLER}"
    assert chunk_at(text, "number 8").context == "A\nThe nurse records:"
    assert chunk_at(text, "after all").context == "A"


def test_what_follows_a_list_is_not_under_its_lead_in() -> None:
    items = "\n".join(f"- move the patient in the way number {n}." for n in range(6))
    text = f"# A\n\nDo not:\n{items}\nCall for help at once and stay. {FILLER * 3}\n\n# B\n\n{FILLER}"
    for chunk in Chunker(120, 30).split(text):
        if chunk.text.startswith("Call"):
            assert chunk.context == "A"
            break
    else:
        pytest.fail("no chunk begins there")


def test_a_lead_in_without_a_colon_must_be_next_to_its_list() -> None:
    items = "\n".join(f"- measure number {n} of those that may be taken" for n in range(9))
    near = f"# A\n\nWork through these in order.\n{items}\n\n# B\n\n{FILLER}"
    apart = f"# A\n\nWork through these in order.\n\n{items}\n\n# B\n\n{FILLER}"
    assert chunk_at(near, "number 7").context == "A\nWork through these in order."
    assert chunk_at(apart, "number 7").context == "A"


def test_the_context_has_a_bound() -> None:
    text = f"# {'Long ' * 200}\n\n{'Very ' * 2000}long lead-in:\n" + "\n".join(f"- {FILLER}" for _ in range(9))
    assert all(len(chunk.context) < 1000 for chunk in Chunker(200, 20).split(text))


# Lead-ins in emphasis, and bans without a colon.

EMPHASISED = ["**Do not:**", "*Do not:*", "__Do not:__", "_Do not:_", "***Never:***", "**Do not**:", "**Prohibited:**"]
BARE = ["Never", "Do not", "Prohibited", "Forbidden", "DO NOT", "**Never**", "__Do not__", "*Forbidden*", "Not allowed"]
ITEMS = {
    "bullets": "- Open gate {n} of the yard while the pump behind it runs.",
    "numbers": "{n}. Open gate {n} of the yard while the pump behind it runs.",
    "letters": "({letter}) open gate {n} of the yard while the pump behind it runs;",
    "indented": "   * Open gate {n} of the yard while the pump behind it runs.",
    "apart": "- Open gate {n} of the yard while the pump behind it runs.\n",
    "wrapped": "- Open gate {n} of the yard while\n  the pump behind it runs and the\n  lamp is red.",
    "wrapped to the margin": "- Open gate {n} of the yard while\nthe pump behind it runs and the\nlamp is red.",
    "of two paragraphs": "- Open gate {n} of the yard.\n\n  The pump behind it runs while the lamp is red.\n",
}


def gates(form: str = "bullets") -> str:
    """A list that is far longer than a chunk of 200 characters."""
    return "\n".join(ITEMS[form].format(n=n, letter="abcdefghijkl"[n - 1]) for n in range(1, 13))


def lead_ins(text: str, words: str) -> list[str]:
    """The lead-ins, without the headings, of the passages of 200 characters that have *words* in them."""
    return [
        chunk.context.removeprefix(" > ".join(chunk.headings)).removeprefix("\n")
        for chunk in Chunker(200, 30).split(text)
        if words in chunk.text
    ]


@pytest.mark.parametrize("form", ITEMS)
@pytest.mark.parametrize("gap", ["\n", "\n\n"])
@pytest.mark.parametrize("lead", [*EMPHASISED, *BARE])
def test_a_ban_goes_with_its_list_however_it_is_written(lead: str, gap: str, form: str) -> None:
    """A long list: each of its passages has the ban in its text or in its context, and the last five in the context."""
    text = f"# Gates\n\n{FILLER}\n\n{lead}{gap}{gates(form)}\n\n# End\n\n{FILLER}"
    chunks = [chunk for chunk in Chunker(200, 30).split(text) if "pump behind" in chunk.text]
    assert len(chunks) > 5
    for chunk in chunks:
        inside = lead in chunk.text
        assert chunk.context == ("Gates" if inside else f"Gates\n{lead}")
    assert not any(lead in chunk.text for chunk in chunks[-5:])


@pytest.mark.parametrize("lead", [*EMPHASISED, *BARE])
def test_a_ban_right_below_other_lines_is_not_lost_among_them(lead: str) -> None:
    """Below a sentence, and below the last item of another list."""
    sentence = f"# Gates\n\n{FILLER}\nThe yard is old.\n{lead}\n\n{gates()}\n"
    items = f"# Gates\n\nAlways:\n\n- close the lid of the tank;\n- lock the store.\n{lead}\n\n{gates()}\n"
    for text in (sentence, items):
        assert [lead] * 3 == [found.removeprefix("The yard is old. ") for found in lead_ins(text, "runs")[-3:]]


@pytest.mark.parametrize("lead", [*EMPHASISED, *BARE])
def test_a_nested_list_keeps_the_ban_above_it(lead: str) -> None:
    inner = "\n".join(f"  - the lever {n} of the gate that stands in the yard" for n in range(9))
    text = f"# Gates\n\n{lead}\n\n- walk alone\n- move:\n{inner}\n- touch anything that is wet\n\n# End\n\n{FILLER}"
    assert {f"{lead}\n- move:"} == set(lead_ins(text, "lever 7"))
    assert lead in lead_ins(text, "touch anything")[-1]


@pytest.mark.parametrize("lead", [*EMPHASISED, *BARE])
@pytest.mark.parametrize("form", ["bullets", "letters"])
def test_a_ban_that_is_an_item_leads_in_the_items_below_it(lead: str, form: str) -> None:
    """At its own indent, and further in."""
    end = f"\n\n# End\n\n{FILLER}"
    beside = f"# Gates\n\n1. Always close the lid of the tank.\n2. {lead}\n\n{gates(form)}{end}"
    further = gates(form).replace("\n", "\n  ")
    inside = f"# Gates\n\n- Always close the lid of the tank.\n- {lead}\n  {further}{end}"
    assert lead == lead_ins(beside, "gate 11")[-1].removeprefix("2. ")
    assert lead == lead_ins(inside, "gate 11")[-1].removeprefix("- ")


@pytest.mark.parametrize("lead", EMPHASISED)
def test_lines_without_bullets_have_an_emphasised_lead_in(lead: str) -> None:
    lines = "\n".join(f"open gate {n} of the yard while the pump runs" for n in range(12))
    for gap in ("\n", "\n\n"):
        text = f"# Gates\n\n{FILLER}\n\n{lead}{gap}{lines}\n\n{FILLER * 3}after all\n"
        assert [lead] == lead_ins(text, "gate 10")[-1:]
        assert [""] == lead_ins(text, "after all")


@pytest.mark.parametrize(
    "above",
    [
        "The yard is closed, and **never** is it left alone.",
        "Smoking in the yard is **Forbidden**",
        "The crew writes down which of the ways into the yard is\nforbidden",
        "Materials",
        "**Materials**",
        "Passphrase: ****",
        "'super':*",
        "**Prohibited**\n\nThe yard is closed to those who smoke.",
        "**Do not:**\n\nThe yard is closed to those who smoke.",
        "Never\n\nThe yard is closed to those who smoke.",
        "**Do not:**\n\n- smoke in the yard;\n- keep a dog.\n\nThe yard is closed at night.",
        "Never\n\n- smoke in the yard;\n- keep a dog.\n\nThe yard is closed at night.",
    ],
)
def test_what_is_no_ban_or_the_ban_of_something_else_leads_nothing_in(above: str) -> None:
    """An ordinary bold word, the end of a wrapped sentence, and a ban with a paragraph between it and the list."""
    text = f"# Gates\n\n{FILLER}\n\n{above}\n\n{gates()}\n"
    assert {""} == set(lead_ins(text, "gate 6") + lead_ins(text, "gate 11"))


def test_an_item_that_ends_in_a_word_of_a_ban_leads_nothing_in() -> None:
    text = f"# Gates\n\nThe crew says whether:\n{gates('wrapped to the margin').replace('lamp is red.', 'never')}\n"
    assert {"The crew says whether:"} == set(lead_ins(text, "gate 8") + lead_ins(text, "gate 11"))


def test_a_lead_in_in_emphasis_may_be_wrapped() -> None:
    text = f"# Gates\n\n{FILLER}\n\n**While the pump behind the yard is running,\nnever:**\n\n{gates()}\n"
    assert ["**While the pump behind the yard is running, never:**"] == lead_ins(text, "gate 11")[-1:]


@pytest.mark.parametrize("lead", [*EMPHASISED, *BARE])
def test_a_new_lead_in_takes_the_place_of_a_ban(lead: str) -> None:
    text = f"# Gates\n\n{lead}\n\n- smoke in the yard;\n- keep a dog.\n\n**Always:**\n\n{gates()}\n"
    assert ["**Always:**"] == lead_ins(text, "gate 11")[-1:]


def test_a_stream_has_the_same_bans(tmp_path: Path) -> None:
    part = "".join(f"{lead}\n\n{gates()}\n\n{FILLER}\n\n" for lead in (*EMPHASISED, *BARE))
    path = tmp_path / "gates.md"
    path.write_text(f"# Gates\n\n{part * 3}", encoding="utf-8")
    whole = Chunker(200, 30).split(path.read_text(encoding="utf-8"))
    assert [(c.text, c.context) for c in whole] == [(c.text, c.context) for c in Chunker(200, 30).stream(path)]


def test_lists_under_a_colon_do_not_load_the_check_of_evidence() -> None:
    """It takes a tenth of a second, and only a short line without a colon above a list is shown to it."""
    code = (
        "import sys\nfrom text2expert.chunker import Chunker\n"
        "text = '# A\\n\\n**Do not:**\\n\\n' + '- open the gate of the yard.\\n' * 50\n"
        "assert Chunker(200, 30).split(text)[-1].context == 'A\\n**Do not:**'\n"
        "print('text2expert.evidence' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "False"


LABELS = {
    "(viii)": [f"({n})" for n in "i ii iii iv v vi vii viii ix x xi xii".split()],
    "xxiii.": [f"{n}." for n in "xvii xviii xix xx xxi xxii xxiii xxiv xxv xxvi xxvii xxviii".split()],
    "(XVIII)": [f"({n})" for n in "XII XIII XIV XV XVI XVII XVIII XIX XX XXI XXII XXIII".split()],
    "10.2.12": [f"10.2.{n}" for n in range(1, 13)],
    "(112)": [f"({n})" for n in range(101, 113)],
    "(bb)": [f"({letter * 2})" for letter in "abcdefghijkl"],
}


@pytest.mark.parametrize("gap", ["\n", "\n\n"])
@pytest.mark.parametrize("labels", LABELS)
def test_items_with_long_labels_keep_the_lead_in(labels: str, gap: str) -> None:
    """Each chunk begins with its label, and nothing but the label shows that it is an item of a list."""
    items = [
        f"{label} open gate number {n} of the yard while the pump behind it runs, while the lamp above it is red or while "
        "the crew of the ship that lies beside it has not said that all of its lines are in;"
        for n, label in enumerate(LABELS[labels])
    ]
    text = f"# Gates\n\n{FILLER}\n\nDo not:\n\n{gap.join(items)}\n\n# End\n\n{FILLER}"
    for n in range(2, 12):
        assert lead_ins(text, f"gate number {n} ")[-1] == "Do not:"


@pytest.mark.parametrize("word", ["file.", "civil.", "multi.", "(see", "end)", "3.50,"])
def test_the_end_of_a_wrapped_sentence_is_no_label(word: str) -> None:
    text = f"\nThe owner of a part may at any time change it in its\n{word} The next of its sentences goes on for some time."
    assert leadins.lead_in(text, 1, text.index(word)) == ""


@pytest.mark.parametrize(
    ("middle", "expected"),
    [
        ("- move:\n  Pumps:\n", "- move: Pumps:"),
        ("- move:\n\n  Pumps:\n\n", "- move:\nPumps:"),
        ("- move the pumps\n  and the tanks:\n", "- move the pumps and the tanks:"),
        ("- move the pumps\nand the tanks:\n", "- move the pumps and the tanks:"),
        ("- move:\n  The yard is old. Pumps:\n", "- move:\nPumps:"),
        ("- move:\n  Tanks:\n  - the lid\n  Pumps:\n", "- move:\nPumps:"),
        ("- move:\n\n  Tanks:\n\n  - the lid\n\n  The yard is old.\n\n  Pumps:\n\n", "- move:\nPumps:"),
        ("- walk alone.\n\n  Pumps, too:\n", "- walk alone.\nPumps, too:"),
    ],
)
@pytest.mark.parametrize("lead", ["Do not:", "**Never**", "The crew must not:"])
def test_a_paragraph_that_leads_in_within_an_item_does_not_hide_what_leads_in_the_item(
    lead: str, middle: str, expected: str
) -> None:
    inner = "\n".join(f"  - the lever {n} of the gate that stands in the yard" for n in range(9))
    text = f"# Gates\n\n{FILLER}\n\n{lead}\n\n- run\n{middle}{inner}\n- touch what is wet\n\n# End\n\n{FILLER}"
    assert {f"{lead}\n{expected}"} == set(lead_ins(text, "lever 7"))
    assert lead in lead_ins(text, "touch what")[-1]


@pytest.mark.parametrize(
    "middle", ["Pumps:\n", "Pumps:\n\n", "The yard is closed.\n\n  Pumps:\n", "The yard is closed.\n  Pumps:\n"]
)
def test_a_paragraph_outside_the_items_begins_a_list_of_its_own(middle: str) -> None:
    inner = "\n".join(f"  - the lever {n} of the gate that stands in the yard" for n in range(9))
    text = f"# Gates\n\nDo not:\n\n- run\n- jump\n\n{middle}{inner}\n\n# End\n\n{FILLER}"
    assert ["Pumps:"] == [found.removeprefix("The yard is closed. ") for found in lead_ins(text, "lever 7")[-1:]]


@pytest.mark.parametrize("lead", EMPHASISED)
@pytest.mark.parametrize("before", ["", "The yard is old.\n"])
def test_lines_without_bullets_at_the_very_beginning_have_their_lead_in(lead: str, before: str) -> None:
    lines = "\n".join(f"open gate {n} of the yard while the pump runs" for n in range(12))
    text = f"{before}{lead}\n{lines}\n\n{FILLER * 3}after all\n"
    assert [lead] == [found.removeprefix("The yard is old. ") for found in lead_ins(text, "gate 10")[-1:]]
    assert [""] == lead_ins(text, "after all")


# Tables.


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("    Tier    Volume      Lead", "    {n}       up to {n}     Ship and supplier"),
        ("Tier    Volume      Lead", "{n}       up to {n}     Ship and supplier"),
        ("Tier\tVolume\tLead", "{n}\tup to {n}\tShip and supplier"),
        ("| Tier | Volume | Lead |\n|------|--------|------|", "| {n} | up to {n} | Ship and supplier |"),
    ],
)
def test_a_row_cut_off_from_its_table_has_caption_and_header(header: str, row: str) -> None:
    rows = "\n".join(row.format(n=n) for n in range(10, 30))
    text = f"# A\n\n{FILLER * 3}\n\nThe tiers are these.\n\n{header}\n{rows}\n\n{FILLER}\n\n# B\n\n{FILLER}"
    for chunk in Chunker(200, 30).split(text):
        if row.format(n=25) in chunk.text:
            assert chunk.context == f"A\nThe tiers are these.\n{header.splitlines()[0].strip()}"
            break
    else:
        pytest.fail("no chunk has that row whole")


@pytest.mark.parametrize(
    "lead", ["5.1 The Borrower shall not:", "(1) The Borrower shall not:", "a. Never:", "- Do not:", "2) Avoid:"]
)
@pytest.mark.parametrize("mark", ["({})", "* {}"])
def test_a_marked_line_leads_items_of_another_kind_at_its_own_indent(lead: str, mark: str) -> None:
    """The commonest form of a contract: each later passage keeps its "shall not"."""

    items = [
        f"{mark.format(letter)} sell, lend or give away any part of the plant that is numbered {letter};"
        for letter in "abcdefghijklmnop"
    ]
    text = "\n".join(["5 COVENANTS", "", "4.9 The Lender may inspect the plant.", lead, *items])
    chunks = Chunker(300, 40).split(text)
    assert len(chunks) > 3
    said = lead.partition(" ")[2]
    for chunk in chunks:
        if "sell, lend" in chunk.text:
            assert said in chunk.context + chunk.text
