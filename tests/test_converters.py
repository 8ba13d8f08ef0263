"""PDF, DOCX and HTML as documents: real files, made here by a browser and by python-docx, and what is read of them."""

import base64
import hashlib
import html
import io
import re
import sys
import zipfile

import attrs
import docx
import pytest
from browser import Browser
from pumps import PUMPS, gold_only

from text2expert import Chunker, Document, Pipeline, RuleTeacher, converters, documents
from text2expert.converters.layout import Line, Page, Table, text_of_pages, without_furniture
from text2expert.errors import InputError, MissingExtraError
from text2expert.golden import load
from text2expert.records import Document as Record
from text2expert.records import from_dict, to_dict

RUNNING = "Karsund Works – Pump Manual – uncontrolled when printed"
PAGE = '<div style="font-size:8px;width:100%;text-align:center">'
FRAME = {
    "displayHeaderFooter": True, "marginTop": 0.8, "marginBottom": 0.8,
    "headerTemplate": f"{PAGE}{RUNNING}</div>",
    "footerTemplate": f'{PAGE}Confidential – page <span class="pageNumber"></span> of <span class="totalPages"></span></div>',
}  # fmt: skip
ROWS = [("Pump", "Pressure (bar)", "Inspection")] + [(f"P-{n}", f"{n}.5", f"every {n + 2} weeks") for n in range(1, 60)]
RAISED = "<p>Below 10<sup>9</sup>/L on 5 m<sup>2</sup>, the 4<sup>th</sup> time CO<sub>2</sub> is 20<sup>1</sup> %.</p>"
SOFT = "<p style='width: 420px'>The effi&shy;ciency of pumps is com&shy;puted once in every sin&shy;gle mi&shy;nute of the test.</p>"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def table_of(rows):
    first, *rest = ("".join(f"<t{{0}}>{html.escape(cell)}</t{{0}}>" for cell in row) for row in rows)
    body = "".join(f"<tr>{row.format('d')}</tr>" for row in rest)
    return f"<table border=1 style='border-collapse:collapse'><thead><tr>{first.format('h')}</tr></thead>{body}</table>"


def web(text, *, more="", css=""):
    """A page of *text*: its numbered capitals are headings, every other line is a paragraph."""
    body = "".join(
        f"<h2>{html.escape(line)}</h2>" if re.match(r"\d+\. [A-Z ]+$", line) else f"<p>{html.escape(line)}</p>"
        for line in text.split("\n") if line
    )  # fmt: skip
    style = f"body {{font-family: serif; font-size: 11pt}} {css}"
    return f"<!doctype html><html><head><meta charset='utf-8'><title>Not text</title><style>{style}</style></head><body>{body}{more}</body></html>"


@pytest.fixture(scope="module")
def printed(once):
    """PDFs that a browser printed."""
    sop = sample()
    pages = {
        "manual": (web(sop, more="<h2>99. PUMP TABLE</h2>" + table_of(ROWS)), FRAME),
        "columns": (web(sop, css="body {column-count: 2; font-size: 9pt}"), FRAME),
        "pumps": (web(PUMPS), {}),
        "raised": (RAISED, {}),
        "soft": (
            "<meta charset=utf-8>" + "".join(SOFT.replace("420", str(width)) for width in range(380, 580, 20)),
            {},
        ),
        "empty": ("", {}),
        "scan": (f"<img src='data:image/png;base64,{PIXEL}' style='width: 500px; height: 700px'>", {}),
    }

    def make(folder):
        running = Browser()
        try:
            for name, (page, settings) in pages.items():
                (folder / f"{name}.html").write_text(page, "utf-8")
                with running.open(folder / f"{name}.html") as opened:
                    opened.pdf(folder / f"{name}.pdf", **settings)
        finally:
            running.close()

    return once("printed", make)


def sample():
    from importlib.resources import files

    text = files("text2expert.samples").joinpath("vessel_mooring_sop.txt").read_text("utf-8")
    return text[: text.index("\n6. ")]


def text_of(path):
    (document,) = documents.read(path)
    return document.text


def taught(text):
    chunks = Chunker().split(Document.from_text(text))
    return {(pair.question, pair.answer) for pair in RuleTeacher().teach(chunks)}


# PDF.


@pytest.mark.parametrize("name", ["manual", "columns"])
def test_a_printed_page_teaches_what_the_page_itself_teaches(printed, name):
    """In one column and in two: paragraphs, headings and reading order are found again."""
    page, paper = taught(text_of(printed / f"{name}.html")), taught(text_of(printed / f"{name}.pdf"))
    assert len(page & paper) >= 0.97 * len(page)
    assert len(paper) <= 1.03 * len(page)


@pytest.mark.parametrize("name", ["manual", "columns"])
def test_running_titles_and_page_numbers_are_left_out(printed, name):
    text = text_of(printed / f"{name}.pdf")
    assert "uncontrolled" not in text
    assert "Confidential" not in text
    assert "Harbour Duty Officer" in text


def test_a_table_over_two_pages_is_one_with_one_head(printed):
    lines = text_of(printed / "manual.pdf").split("\n")
    start = lines.index("| Pump | Pressure (bar) | Inspection |")
    expected = ["| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in ROWS[1:])]
    assert expected == lines[start + 1 : start + 1 + len(expected)]


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_chunks_of_a_table_say_what_its_columns_are(printed, kind):
    chunks = [chunk for chunk in Chunker(size=400).stream(printed / f"manual.{kind}") if "| P-4" in chunk.text]
    assert len(chunks) > 1
    assert all("Pressure (bar)" in chunk.context + chunk.text for chunk in chunks)
    rows = [row for chunk in chunks for row in chunk.text.split("\n") if "P-" in row]
    assert {f"| {' | '.join(row)} |" for row in ROWS} > set(rows)


def test_larger_letters_are_headings_and_open_sections(printed):
    assert "1. PURPOSE" in {chunk.headings[-1] for chunk in Chunker().stream(printed / "pumps.pdf") if chunk.headings}


def test_the_same_file_gives_the_same_text(printed, monkeypatch):
    first = text_of(printed / "pumps.pdf")
    monkeypatch.setattr(converters, "_MADE", {})
    assert first == text_of(printed / "pumps.pdf")


def test_a_scan_is_refused_with_what_to_do(printed):
    with pytest.raises(InputError, match=r"scan\.pdf is a scan: 1 of its 1 pages .*ocrmypdf"):
        documents.read(printed / "scan.pdf")


def placed(words, size=10, gap=2.2):
    """A PDF that has no spaces: it puts every word in its place."""
    x, shown = 50.0, []
    for word in words:
        shown.append(f"1 0 0 1 {x:.2f} 700 Tm ({word}) Tj")
        x += 0.6 * size * len(word) + gap  # Courier's letters are 0.6 wide
    stream = f"BT /F 10 Tf {' '.join(shown)} ET".encode()
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Courier/Encoding/WinAnsiEncoding>>",
    ]
    objects = b"".join(b"%d 0 obj%s endobj\n" % (number, part) for number, part in enumerate(parts, 1))
    return b"%PDF-1.4\n" + objects + b"trailer<</Root 1 0 R>>\n"


def test_words_that_no_space_parts_are_words(tmp_path):
    (tmp_path / "a.pdf").write_bytes(placed("Stop the pump at once".split()))
    assert text_of(tmp_path / "a.pdf") == "Stop the pump at once\n"


LOCKED = b"""%%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
3 0 obj<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>endobj
trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>
""" % (b"11" * 32, b"22" * 32)


def test_a_pdf_with_a_password_is_refused(tmp_path):
    (tmp_path / "a.pdf").write_bytes(LOCKED)
    with pytest.raises(InputError, match=r"a\.pdf is locked with a password"):
        documents.read(tmp_path / "a.pdf")


def test_a_pdf_that_was_cut_off_is_refused(printed, tmp_path):
    data = (printed / "pumps.pdf").read_bytes()
    (tmp_path / "a.pdf").write_bytes(data[:3000])
    with pytest.raises(InputError, match=r"a\.pdf is a (damaged PDF|scan)"):
        documents.read(tmp_path / "a.pdf")


# Layout, of lines that no printer has to make.


def line(text, top, *, x0=50.0, size=10.0, **more):
    return Line(
        text=text, x0=x0, x1=x0 + 5 * len(text), top=top, bottom=top + size, size=size, left=0, width=600, **more
    )


def body(*texts, top=100.0):
    return [line(text, top + 12 * place) for place, text in enumerate(texts)]


FILLED = "The crew shall record the reading of the gauge in the log of the watch, and the engineer shall sign it before"


def test_a_title_that_is_the_same_on_odd_pages_alone_is_left_out():
    titles = ["MANUAL OF PUMPS", "Part one"] * 3
    pages = [
        Page(height=800, blocks=(line(title, 20), *body(f"{n} is here.", top=300), line(f"- {n} -", 780)))
        for n, title in enumerate(titles)
    ]
    assert [[f"{n} is here."] for n in range(6)] == [
        [block.text for block in page.blocks] for page in without_furniture(pages)
    ]


def test_titles_of_chapters_beside_the_page_number_are_left_out():
    pages = [
        Page(
            height=800,
            blocks=(
                line(f"Chapter {n // 2}: {'On pumps' if n < 4 else 'On fans'} {n + 9}", 20),
                *body(FILLED, top=300),
            ),
        )
        for n in range(8)
    ]
    assert all(len(page.blocks) == 1 for page in without_furniture(pages))


def test_a_chapter_on_each_page_is_no_running_title():
    pages = [
        Page(height=800, blocks=(line(f"Chapter {n}", 20, size=16), *body(f"Words {n}.", FILLED, top=300)))
        for n in range(4)
    ]
    assert pages == without_furniture(pages)


def test_a_footer_is_left_out_where_two_columns_part_it_on_some_pages():
    def foot(n):
        url, number = line("file:///manual.html", 780), line(f"{n}/6", 780, x0=500)
        return (url, number) if n < 3 else (attrs.evolve(url, text=f"{url.text} {number.text}", x1=number.x1),)

    pages = [Page(height=800, blocks=(*body(f"Words {n * 'x'}.", top=300), *foot(n))) for n in range(1, 7)]
    assert [[f"Words {n * 'x'}."] for n in range(1, 7)] == [
        [block.text for block in page.blocks] for page in without_furniture(pages)
    ]


def test_a_framed_head_of_every_page_is_left_out():
    def head(n):
        return Table(rows=(("Works", "Doc 7"), ("Pumps", f"Page {n} of 4")), x0=50, x1=500, top=20, bottom=60)

    pages = [Page(height=800, blocks=(head(n), *body(f"Words {n * 'x'}.", top=300))) for n in range(1, 5)]
    assert all(len(page.blocks) == 1 for page in without_furniture(pages))


def test_rows_that_differ_in_their_numbers_are_no_running_title():
    pages = [
        Page(height=800, blocks=(line(f"Tank {n} holds {n}0 litres and {n}5 bar", 20), *body("Words.")))
        for n in range(4)
    ]
    assert pages == without_furniture(pages)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ("", "The procedure is old."),
        ("a pro-cedure", "The pro-cedure is old."),
        ("a procedure", "The procedure is old."),
    ],
)
def test_a_word_that_was_parted_is_whole_again(known, expected):
    page = Page(height=800, blocks=(*body("The pro-", "cedure is old."), *([line(known, 400)] if known else [])))
    assert expected == text_of_pages([page]).split("\n")[0]


def test_a_sentence_goes_on_over_the_page_and_a_new_one_does_not():
    pages = [
        Page(height=800, blocks=tuple(body(FILLED, top=600))),
        Page(height=800, blocks=tuple(body("noon. Then it is closed."))),
    ]
    assert f"{FILLED} noon. Then it is closed.\n" == text_of_pages(pages)
    pages[1] = Page(height=800, blocks=tuple(body("Then it is closed.")))
    assert f"{FILLED}\n\nThen it is closed.\n" == text_of_pages(pages)


def test_lines_that_end_early_stay_lines():
    """Rows of a table without rules are rows."""
    page = Page(
        height=800,
        blocks=(*body(FILLED, FILLED), *body("Zone Fee", "North quay 120 EUR", "South quay 95 EUR", top=300)),
    )
    assert text_of_pages([page]).endswith("\n\nZone Fee\nNorth quay 120 EUR\nSouth quay 95 EUR\n")


def test_items_are_lines_of_their_own_and_wrapped_ones_are_whole():
    page = Page(height=800, blocks=tuple(body(f"1.1 {FILLED}", "noon.", f"1.2 {FILLED}", "dusk.")))
    assert f"1.1 {FILLED} noon.\n\n1.2 {FILLED} dusk.\n" == text_of_pages([page])


def test_what_follows_a_nested_item_is_not_its_end():
    """Where bullets are drawn and not written, the margin is all that says so."""
    deep = [line("Deep bullet is 7 bar.", 100, x0=90), line("Second bullet.", 112), line(FILLED, 300)]
    assert text_of_pages([Page(height=800, blocks=tuple(deep))]).startswith("Deep bullet is 7 bar.\n\nSecond bullet.\n")
    wide = [line(FILLED, 100, x0=90), line("noon. It is kept.", 112, x0=90), line("Second bullet.", 124)]
    assert text_of_pages([Page(height=800, blocks=tuple(wide))]).endswith("kept.\n\nSecond bullet.\n")


def test_a_paragraph_with_an_indented_first_line_is_whole():
    first = FILLED.replace("before", "twice.")
    lines = [line(first, 100, x0=70), line("The log is kept for a year.", 112)]
    assert f"{first} The log is kept for a year.\n" == text_of_pages([Page(height=800, blocks=tuple(lines))])


# DOCX.


@pytest.fixture
def manual(tmp_path):
    made = docx.Document()
    made.sections[0].header.paragraphs[0].text = RUNNING
    made.add_heading("Pump manual", 1)
    made.add_heading("Limits", 2)
    made.add_paragraph("The oil temperature must not exceed ").add_run("80 °C").bold = True
    made.add_paragraph("Stop the pump.", style="List Bullet")
    made.add_picture(io.BytesIO(base64.b64decode(PIXEL)))
    table = made.add_table(rows=0, cols=2)
    for row in (("Pump", "Pressure"), ("P-1", "2.5 bar")):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            cell.text = text
    made.save(tmp_path / "manual.docx")
    return tmp_path / "manual.docx"


def test_a_word_document_is_read_with_its_headings_lists_and_tables(manual):
    assert text_of(manual) == (
        "# Pump manual\n\n## Limits\n\nThe oil temperature must not exceed 80 °C\n\n- Stop the pump.\n\n"
        "| Pump | Pressure |\n| --- | --- |\n| P-1 | 2.5 bar |\n"
    )


def test_a_damaged_word_document_is_refused(manual, tmp_path):
    (tmp_path / "cut.docx").write_bytes(manual.read_bytes()[:5000])
    with zipfile.ZipFile(tmp_path / "hollow.docx", "w") as archive:
        archive.writestr("word/document.xml", "<w:document")
    for name in ("cut", "hollow"):
        with pytest.raises(InputError, match=rf"{name}\.docx is a damaged"):
            documents.read(tmp_path / f"{name}.docx")


def test_what_unpacks_to_more_than_a_text_can_be_is_refused(manual, monkeypatch):
    monkeypatch.setattr(converters, "LARGEST_BYTES", 10_000)
    with pytest.raises(InputError, match=r"manual\.docx holds .* bytes unpacked, more than 10,000"):
        documents.read(manual)


def test_a_word_document_of_more_text_than_memory_would_hold_is_refused(manual, monkeypatch):
    monkeypatch.setattr(converters, "LARGEST_XML_BYTES", 10_000)
    with pytest.raises(InputError, match=r"manual\.docx holds .* bytes of text unpacked, more than 10,000: split it"):
        documents.read(manual)


# HTML.


def test_a_page_is_read_without_its_menus_scripts_and_marks(tmp_path):
    page = """<html><head><title>T</title><style>p {}</style></head><body><nav>Home | About</nav><script>x()</script>
    <h1>Pumps<a href="#pumps">¶</a></h1><p>The <b>oil</b> is at <em>80_C</em>, see <a href="x.html">there</a>.</p>
    <p hidden>Secret</p><ol><li>Stop.<li>Call.</ol><img src="x.png" alt="A picture"><footer>© nobody</footer></body></html>"""
    (tmp_path / "a.html").write_text(page, "utf-8")
    assert text_of(tmp_path / "a.html") == "# Pumps\n\nThe oil is at 80_C, see there.\n\n1. Stop.\n2. Call.\n"


def test_of_a_page_with_a_main_part_that_part_is_read(tmp_path):
    (tmp_path / "a.html").write_text("<div>Press ? for help</div><main><p>The oil is at 80 °C.</p></main>", "utf-8")
    assert text_of(tmp_path / "a.html") == "The oil is at 80 °C.\n"


@pytest.mark.parametrize(
    ("declared", "encoding"), [("<meta charset=windows-1251>", "cp1251"), ("", "cp1251"), ("", "utf-8"), ("", "utf-16")]
)
def test_a_page_is_in_the_encoding_that_it_says_or_that_is_found(tmp_path, declared, encoding):
    words = "Настоящая процедура описывает порядок приёма судов. Капитан решает, когда начать."
    (tmp_path / "a.html").write_bytes(f"<html>{declared}<p>{words}</p></html>".encode(encoding))
    assert f"{words}\n" == text_of(tmp_path / "a.html")


def test_a_page_that_is_not_in_the_encoding_that_it_says_is_refused(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<meta charset=utf-8><p>5 \xb0C</p>")
    with pytest.raises(InputError, match=r"a\.html says that it is utf-8, and byte 0xb0 at offset 25"):
        documents.read(tmp_path / "a.html")


# What must not become another figure, another row or another text.


def page_of(tmp_path, body, head=""):
    (tmp_path / "a.html").write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>", "utf-8")
    return text_of(tmp_path / "a.html")


def test_raised_figures_stay_apart_from_the_number_before_them(tmp_path, printed):
    expected = "Below 10⁹/L on 5 m², the 4th time CO2 is 20¹ %.\n"
    assert page_of(tmp_path, RAISED) == expected
    assert text_of(printed / "raised.pdf") == expected

    made = docx.Document()
    paragraph = made.add_paragraph("Below 10")
    paragraph.add_run("9").font.superscript = True
    paragraph.add_run("/L")
    made.save(tmp_path / "a.docx")
    assert text_of(tmp_path / "a.docx") == "Below 10⁹/L\n"


def test_every_row_of_a_table_says_what_a_cell_above_says_for_it_too(tmp_path):
    body = (
        "<table><caption>Doses</caption><tr><th rowspan=2>Group</th><th colspan=2>Dose</th></tr><tr><th>low</th><th>high</th></tr>"
        "<tr><td rowspan=2>Adult</td><td>1|2 mg</td><td>5 mg</td></tr><tr><td>3 mg</td><td rowspan=2>6 mg</td></tr>"
        "<tr><td>Child</td><td>1 mg</td></tr></table>"
    )
    assert page_of(tmp_path, body) == (
        "Doses\n\n| Group | Dose | |\n| --- | --- | --- |\n| Group | low | high |\n"
        "| Adult | 1\\|2 mg | 5 mg |\n| Adult | 3 mg | 6 mg |\n| Child | 1 mg | 6 mg |\n"
    )


def test_cells_of_a_word_table_that_are_merged_downwards_keep_their_columns(tmp_path):
    made = docx.Document()
    table = made.add_table(rows=3, cols=2)
    for cell, text in zip(table._cells, ("Group", "Dose", "Adult", "5 mg", "", "6 mg"), strict=True):
        cell.text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    made.save(tmp_path / "a.docx")
    assert text_of(tmp_path / "a.docx") == "| Group | Dose |\n| --- | --- |\n| Adult | 5 mg |\n| Adult | 6 mg |\n"


def with_word_xml(path, before, after):
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["word/document.xml"] = parts["word/document.xml"].replace(before, after)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_fields_of_a_word_document_are_read_and_formulas_are_said_to_be_missing(tmp_path, capsys):
    made = docx.Document()
    made.add_paragraph("See section 4.2 for FORMULA.")
    made.save(tmp_path / "a.docx")
    field = b'</w:t></w:r><w:fldSimple w:instr="IF a > b"><w:r><w:t>4.2</w:t></w:r></w:fldSimple><w:r><w:t xml:space="preserve">'
    with_word_xml(tmp_path / "a.docx", b"4.2", field)
    with_word_xml(tmp_path / "a.docx", b"<w:t>See section ", b'<w:t xml:space="preserve">See section ')
    assert text_of(tmp_path / "a.docx") == "See section 4.2 for FORMULA.\n"
    assert "formulas" not in "".join(capsys.readouterr())

    formula = b'</w:t></w:r><m:oMath xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"/><w:r><w:t>'
    with_word_xml(tmp_path / "a.docx", b"FORMULA", formula)
    assert text_of(tmp_path / "a.docx") == "See section 4.2 for .\n"
    assert "a.docx: its formulas are left out" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        (b"<w:vanish/>", "The dose is 5 mg.\n"),
        (b'<w:vanish w:val="true"/>', "The dose is 5 mg.\n"),
        (b'<w:vanish w:val="0"/>', "The dose is 5 mg. Hidden dose 99 mg.\n"),
        (b"<w:rPrChange><w:rPr><w:vanish/></w:rPr></w:rPrChange>", "The dose is 5 mg. Hidden dose 99 mg.\n"),
    ],
)
def test_what_word_hides_is_not_read(tmp_path, mark, expected):
    made = docx.Document()
    made.add_paragraph("The dose is 5 mg.").add_run(" Hidden dose 99 mg.").bold = True
    made.save(tmp_path / "a.docx")
    with_word_xml(tmp_path / "a.docx", b"<w:b/>", mark)
    assert text_of(tmp_path / "a.docx") == expected


def test_a_page_that_lies_in_a_form_is_read_and_its_fields_are_not(tmp_path):
    body = "<form><p>The oil is at 80 °C.</p><select><option>90</option></select><textarea>95</textarea></form>"
    assert page_of(tmp_path, body) == "The oil is at 80 °C.\n"


@pytest.mark.parametrize("style", ["display:none", "color: red; DISPLAY : none !important", "visibility: hidden"])
def test_what_a_page_hides_is_not_read(tmp_path, style):
    assert page_of(tmp_path, f'<p>Seen.</p><p style="{style}">Approve all.</p>') == "Seen.\n"


@pytest.mark.parametrize("mark", ["del", "s", "strike"])
def test_what_was_struck_out_is_not_read(tmp_path, mark):
    assert page_of(tmp_path, f"<p><{mark}>10 mg</{mark}><ins>5 mg</ins> is given.</p>") == "5 mg is given.\n"


def test_a_page_that_calls_windows_letters_latin_is_read_as_browsers_do(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<html><meta charset=iso-8859-1><p>It\x92s 5 \x96 7 \x80</p></html>")
    assert text_of(tmp_path / "a.html") == "It’s 5 – 7 €\n"


def test_soft_hyphens_are_no_part_of_words(tmp_path, printed):
    assert page_of(tmp_path, "<p>The effi&shy;ciency is 80 %.</p>") == "The efficiency is 80 %.\n"
    said = "The efficiency of pumps is computed once in every single minute of the test."
    paragraphs = text_of(printed / "soft.pdf").strip().split("\n\n")
    assert {said} == {" ".join(each.split()) for each in paragraphs}


def test_a_page_that_is_nested_too_deeply_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a\.html is nested too deeply"):
        page_of(tmp_path, "<div>" * 3000 + "deep" + "</div>" * 3000)


def test_empty_pages_are_not_called_a_scan(printed):
    with pytest.raises(InputError, match=r"empty\.pdf has no text on its 1 page\(s\)"):
        text_of(printed / "empty.pdf")


# What a file is, its content says.


def test_the_content_decides_and_not_the_name(printed, manual, tmp_path):
    for source, name in ((printed / "pumps.pdf", "a.txt"), (manual, "b.bin"), (printed / "pumps.html", "c.txt")):
        (tmp_path / name).write_bytes(source.read_bytes())
        assert text_of(source) == text_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "because"),
    [
        ("a.pdf", b"Plain words.\n", "is called .pdf, and its content is none"),
        ("a.pdf", b"", "is empty"),
        ("a.docx", b"<html><p>Not found</p></html>", "is called .docx, and its content is none"),
        ("a.html", b"<html><script>x()</script></html>", "is an HTML page without text"),
        (
            "a.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
            "old Microsoft Office file, or a new one with a password",
        ),
        ("a.rtf", b"{\\rtf1 Hello}", "is RTF: open it"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_what_to_do(tmp_path, name, data, because):
    (tmp_path / name).write_bytes(data)
    for step in (documents.read, documents.scan):
        with pytest.raises(InputError, match=re.escape(because)) as raised:
            step(tmp_path / name)
        assert name in str(raised.value)


@pytest.mark.parametrize(
    ("inside", "what"),
    [("xl/workbook.xml", "spreadsheet"), ("ppt/x.xml", "presentation"), ("content.xml", "OpenDocument")],
)
def test_other_office_files_are_named(tmp_path, inside, what):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(inside, "<x/>")
    with pytest.raises(InputError, match=rf"a\.zip is an? {what}"):
        documents.read(tmp_path / "a.zip")


@pytest.mark.parametrize(("suffix", "package"), [("pdf", "pdfplumber"), ("html", "markdownify")])
def test_without_the_extra_the_message_says_how_to_get_it(printed, monkeypatch, suffix, package):
    monkeypatch.setattr(converters, "_MADE", {})
    for module in ("pdf", "markup"):
        monkeypatch.delitem(sys.modules, f"text2expert.converters.{module}", raising=False)
        monkeypatch.delattr(converters, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        MissingExtraError, match=rf'pumps\.{suffix} .*{package}: pip install "text2expert\[documents\]"'
    ):
        documents.read(printed / f"pumps.{suffix}")


# In a run.


def test_a_run_of_a_pdf_and_a_word_document_keeps_their_texts_and_where_they_came_from(printed, manual, tmp_path):
    run = gold_only([printed / "pumps.pdf", manual], tmp_path / "run")
    texts = {name: (tmp_path / "run" / "source" / f"{name}.txt").read_text("utf-8") for name in ("pumps", "manual")}
    records = load(tmp_path / "run" / "golden_dataset.jsonl")
    assert {"pumps", "manual"} >= {record.document for record in records} >= {"pumps"}
    spans = [span for record in records for span in record.evidence]
    assert [texts[span.document][span.start : span.end] for span in spans] == [span.text for span in spans]
    first, second = (from_dict(each, Record) for each in run.receipt["documents"])
    assert hashlib.sha256((printed / "pumps.pdf").read_bytes()).hexdigest() == first.file_sha256
    assert re.fullmatch(r"pdfplumber [\d.]+, pdfminer\.six \d+", first.converted_by)
    assert second.converted_by.startswith("mammoth ")
    assert "text" not in to_dict(first)


def test_a_plan_counts_a_converted_document(printed):
    plan = Pipeline().plan(printed / "pumps.pdf")
    assert plan.n_chars == len(text_of(printed / "pumps.pdf"))
    assert plan.pairs > 0
