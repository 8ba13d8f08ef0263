"""The report in a real Chromium: what a reader sees, on a phone, in the dark, on paper, and when texts are hostile."""

import re
import shutil

import browser
import pytest
import reports
from pumps import PUMPS, gold_only

from text2expert import report
from text2expert.examiner.results import GivenAnswer
from text2expert.records import ExamQuestion, read_jsonl
from text2expert.report import findings

OPEN_ALL = "for (const each of document.querySelectorAll('details')) each.open = true"


@pytest.fixture(scope="module")
def chromium():
    running = browser.Browser()
    yield running
    running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with all that a report can have."""
    place = tmp_path_factory.mktemp("report")
    (place / "pumps.txt").write_text(PUMPS, encoding="utf-8")
    made = gold_only(place / "pumps.txt", place / "run").folder
    reports.examined(made)
    return made


@pytest.fixture(scope="module")
def clean(folder):
    return report.write(folder)


@pytest.fixture(scope="module")
def hostile(folder):
    poisoned = shutil.copytree(folder, folder.parent / "poisoned")
    reports.poison(poisoned)
    return report.write(poisoned)


def test_where_chromium_is_missing_the_tests_say_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AssertionError, match="apt-get install -y --no-install-recommends chromium"):
        browser.executable()


@pytest.mark.parametrize("name", ["clean", "hostile"])
def test_on_a_phone_nothing_is_wider_than_it_and_nothing_is_asked_of_the_network(chromium, name, request):
    """With everything opened, and whatever the texts are."""
    with chromium.open(request.getfixturevalue(name), size=browser.PHONE) as page:
        page.value(OPEN_ALL)
        assert page.value("document.documentElement.scrollWidth") <= 360
        assert [] == page.complaints()
        assert [] == page.requests()


def test_on_a_phone_a_table_that_is_wider_says_so_and_shows_what_decides(chromium, clean):
    """The first column stays in sight; the expert and what it is compared with stand beside it."""
    boxes = """[...document.querySelectorAll('#scores .scroll')].filter((box) => box.checkVisibility()).map((box) => {
      box.scrollLeft = 0;
      const edge = box.getBoundingClientRect().right;
      const seen = [...box.querySelectorAll('thead th')].filter((cell) => cell.getBoundingClientRect().right <= edge + 1);
      const caption = box.querySelector('caption span');
      const hint = getComputedStyle(caption, '::after').content;
      const whole = caption.getBoundingClientRect().right <= edge;
      box.scrollLeft = 1000;
      const stays = box.querySelector('tbody th').getBoundingClientRect().left >= box.getBoundingClientRect().left - 1;
      return [caption.textContent, box.scrollWidth > box.clientWidth + 1, hint, whole, stays, seen.map((cell) => cell.textContent)];
    })"""
    with chromium.open(clean, size=browser.PHONE) as page:
        found = page.value(boxes)
    assert any(wider for _, wider, *_ in found)
    for _, wider, hint, whole, stays, _ in found:
        assert ("more to the right" in hint) == wider
        assert whole
        assert stays
    seen = {caption: columns for caption, *_, columns in found}
    assert {"expert", "base + RAG"} <= {*seen["Right answers by kind of question, with 95 % intervals"]}
    assert "Difference, points" in seen["Paired comparisons on all unseen questions"]
    with chromium.open(clean, size=browser.DESKTOP) as page:
        assert not any(hint for _, wider, hint, *_ in page.value(boxes) if not wider and "right" in hint)


def test_hostile_texts_stay_text(chromium, hostile, clean):
    """No script of theirs ran, no dialog opened, and no element is there that a harmless page has not."""
    kinds = "[...new Set([...document.querySelectorAll('*')].map((each) => each.localName))].sort()"
    with chromium.open(clean) as page:
        expected = page.value(kinds)
    with chromium.open(hostile) as page:
        assert expected == page.value(kinds)
        assert page.value("typeof window.hacked") == "undefined"
        handlers = "[...document.querySelectorAll('*')].flatMap((each) => each.getAttributeNames()).filter((name) => name.startsWith('on'))"
        assert [] == page.value(handlers)
        links = "[...document.querySelectorAll('[href], [src]')].map((each) => each.getAttribute('href') ?? each.src)"
        assert not [link for link in page.value(links) if not re.match(r"#[\w-]+$|data:,$", link)]
        assert page.value("document.querySelector('h1').textContent") == f"{reports.HOSTILE[1]}."
        assert [] == page.complaints()


def test_what_got_in_by_mistake_could_do_nothing(chromium, clean):
    """The policy, should escaping ever fail: no handler, no script, no style, no image from elsewhere."""
    with chromium.open(clean) as page:
        page.value(
            "document.body.insertAdjacentHTML('beforeend', '<img src=http://192.0.2.1/a.png onerror=\"window.hacked = 1\">"
            "<b id=styled style=\"position: fixed\">x</b><svg onload=\"window.hacked = 2\"></svg>');"
            "const made = document.createElement('script'); made.textContent = 'window.hacked = 3'; document.body.append(made); 1"
        )  # fmt: skip
        page.value("new Promise((done) => setTimeout(done, 100))")
        assert page.value("typeof window.hacked") == "undefined"
        assert page.value("getComputedStyle(document.getElementById('styled')).position") == "static"
        assert [] == [url for url in page.requests() if "192.0.2.1" not in url]
        assert any("Content Security Policy" in str(complaint) for complaint in page.complaints())


def test_dark_readers_get_other_colours_that_can_be_read(chromium, clean):
    """Of the page and of what is drawn."""
    colours = """(() => {
      const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
      return [of('body', 'backgroundColor'), of('body', 'color'), of('#plot-accuracy text.f-ink', 'fill'),
              of('#plot-accuracy .s-s0', 'stroke'), of('.cell.passed', 'backgroundColor')];
    })()"""
    with chromium.open(clean) as page:
        light = page.value(colours)
        page.prefer(dark=True)
        dark = page.value(colours)
    assert not [one for one, other in zip(light, dark, strict=True) if one == other]
    assert light[1] == light[2]
    assert dark[1] == dark[2]
    assert brightness(light[0]) > 240
    assert brightness(dark[0]) < 40


def brightness(colour):
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("size", "shown"), [(browser.PHONE, "narrow"), (browser.DESKTOP, "wide")])
def test_each_plot_is_drawn_once_with_letters_that_can_be_read(chromium, clean, size, shown):
    """Every plot has a size, fits its column, and no letter of it is smaller than 9 pixels or outside of it."""
    drawn = """[...document.querySelectorAll('figure svg')].map((each) => {
      const box = each.getBoundingClientRect();
      const texts = [...each.querySelectorAll('text')].filter((text) => text.textContent);
      const out = texts.filter((text) => {
        const own = text.getBoundingClientRect();
        return box.width && (own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1);
      });
      const least = Math.min(...texts.map((text) => parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM()?.a || 0, text.getScreenCTM()?.b || 0)));
      return [each.classList.contains(%r), box.width, box.height, out.map((text) => text.textContent), least];
    })"""
    with chromium.open(clean, size=size) as page:
        plots = page.value(drawn % shown)
    assert 8 == len(plots)  # accuracy, rows, cost and loss, each for two screens
    for visible, width, height, outside, least in plots:
        assert (width > 0) == (height > 0) == visible
        assert width <= size[0]
        assert [] == outside
        if visible:
            assert least >= 9


def test_questions_can_be_chosen_by_who_got_them_wrong_and_by_words(chromium, clean, folder):
    answers = list(read_jsonl(folder / "exam_answers.jsonl", GivenAnswer))
    names = list(findings.read(folder).contestants)
    wrong = sum(each.contestant == "lookup" and each.grade == "wrong" for each in answers)
    other = sum(each.contestant == "lookup" and each.judged != each.grade for each in answers)
    unanswerable = sum(each.row == "unanswerable" for each in read_jsonl(folder / "exam.jsonl", ExamQuestion))
    assert wrong
    assert unanswerable
    shown = "[...document.querySelectorAll('.question')].filter((each) => each.checkVisibility()).length"
    choose = (
        "(() => {{ const form = document.getElementById('choose'); {} form.dispatchEvent(new Event('input')); return "
        + shown
        + " }})()"
    )
    with chromium.open(clean) as page:
        assert page.value("document.querySelector('#choose').elements.who.selectedOptions[0].text") == "expert"
        everything = page.value(shown)
        assert everything == len(answers) / len(names)
        who = f"form.elements.who.value = {names.index('lookup')};"
        assert wrong == page.value(choose.format(f"{who} form.elements.grade.value = 'w';"))
        assert f"{wrong} of" in page.value("document.querySelector('output').textContent")
        assert other == page.value(choose.format("form.elements.grade.value = 'd';"))
        asked = choose.format("form.elements.grade.value = ''; form.elements.row.value = 'unanswerable';")
        assert unanswerable == page.value(asked)
        assert page.value(choose.format("form.elements.words.value = ' zz-3 ';")) == 1
        assert page.value(choose.format("form.reset();")) == everything


def test_a_question_opens_by_the_keyboard_and_shows_where_the_document_has_it(chromium, clean):
    visible = "document.querySelector('.question mark').checkVisibility()"
    with chromium.open(clean) as page:
        page.value("document.querySelector('.question:has(mark) summary').focus()")
        assert page.value(visible) is False
        page.press("Enter", "Enter", 13)
        assert page.value(visible) is True


def test_a_cell_of_the_map_says_what_became_of_its_passage_and_leads_to_it(chromium, clean):
    with chromium.open(clean, size=browser.PHONE) as page:
        tip = "document.querySelector('.map a .tip')"
        assert page.value(f"{tip}.getBoundingClientRect().width") == 1
        page.value("document.querySelector('.map a').focus()")
        shown = page.value(f"(({{ left, right, bottom }}) => [left, right, bottom])({tip}.getBoundingClientRect())")
        assert [0, *browser.PHONE] == shown
        page.value("document.querySelector('.map a').click()")
        page.value("new Promise((done) => setTimeout(done, 50))")
        assert page.value("document.querySelector('#p1 .text').checkVisibility()") is True


def test_everything_that_can_be_used_has_a_name(chromium, clean):
    """For those who hear the page: links, fields, tables, plots, boxes that scroll."""
    roles = {"link", "combobox", "searchbox", "table", "image", "group", "DisclosureTriangle", "heading", "navigation"}
    with chromium.open(clean) as page:
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), node["nodeId"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert {"link", "combobox", "searchbox", "table", "image", "heading"} <= {role for role, _, _ in found}
    assert [] == [(role, number) for role, name, number in found if not name.strip() and role != "group"]
    assert any(name.endswith("unseen questions right") for role, name, _ in found if role == "link")


def test_without_scripts_it_is_all_there_but_for_choosing(chromium, clean):
    with chromium.open(clean, scripts=False) as page:
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        form = page.call("DOM.querySelector", nodeId=root, selector="#choose")["nodeId"]
        style = page.call("DOM.querySelector", nodeId=root, selector=".question")["nodeId"]
        page.call("DOM.enable")
        page.call("CSS.enable")

        def display(node):
            styles = page.call("CSS.getComputedStyleForNode", nodeId=node)["computedStyle"]
            return next(each["value"] for each in styles if each["name"] == "display")

        assert ("none", "block") == (display(form), display(style))


def test_on_paper_what_is_folded_is_unfolded_and_the_form_is_left_out(chromium, clean, tmp_path):
    with chromium.open(clean) as page:
        page.prefer(paper=True, dark=True)
        assert page.value("getComputedStyle(document.getElementById('choose')).display") == "none"
        assert brightness(page.value("getComputedStyle(document.body).color")) < 40
        page.value("window.opened = []; addEventListener('afterprint', () => {}); addEventListener('beforeprint', () => "
                   "{ window.opened = [...document.querySelectorAll('.more')].map((each) => each.open) })")  # fmt: skip
        page.pdf(tmp_path / "page.pdf")
        assert page.value("window.opened.length > 0 && window.opened.every((each) => each)") is True
        assert page.value("[...document.querySelectorAll('.more')].some((each) => each.open)") is False
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
