"""JSON out of replies as models really send them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert.replies import holding, objects

PLAIN = st.dictionaries(
    st.text(min_size=1), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()), min_size=1
)


@given(st.lists(PLAIN, min_size=1, max_size=5), st.integers(0, 4))
def test_json_comes_back_as_it_is(items, indent):
    """What is valid JSON is read as a JSON parser reads it, whatever its strings hold."""
    assert ([items], True) == objects(json.dumps(items, indent=indent, ensure_ascii=False))


@given(PLAIN, st.integers(min_value=1))
def test_a_cut_object_is_dropped_whole(item, cut):
    """No beginning of an object counts for the object."""
    text = json.dumps(item)
    assert ([], False) == objects(text[: -min(cut, len(text) - 1)])


@given(st.lists(PLAIN, min_size=2, max_size=4), st.data())
def test_a_cut_list_keeps_what_was_whole(items, data):
    """Of a reply that was cut, every object before the cut is there."""
    texts = [json.dumps(item) for item in items]
    cut = data.draw(st.integers(1, len(texts[-1]) - 1))
    reply = '{"items": [' + ", ".join([*texts[:-1], texts[-1][:cut]])
    assert (items[:-1], False) == objects(reply)


@given(st.text(alphabet='{}[]"\\:,a1 \n<think/>', max_size=60))
def test_nothing_makes_it_stumble(text):
    """Any text gives a list of values, and the same ones each time."""
    assert objects(text) == objects(text)


@pytest.mark.parametrize(
    "reply",
    [
        '```json\n{"a": "x"}\n```',
        'Sure {as asked} for [1]:\n{"a": "x"}\nDone :-}',
        '{"a": "x",}',
        '{"a": "x"\n}}}]',
        "{'a': 'x'}",
        '\ufeff{"a": "x"}',
        '<think>{"a": "draft"} and {"a": </think>{"a": "x"}',
        'Perhaps {"a": "draft"}, no, {"a": \n</think>\n\n{"a": "x"}',
    ],
)
def test_one_object_in_many_dresses(reply):
    assert ([{"a": "x"}], True) == objects(reply)


def test_thinking_that_never_ends_is_no_reply():
    assert ([], False) == objects('<think>Perhaps {"a": "x"}')


def test_the_end_of_thinking_in_a_string_is_text():
    """A document may speak of such marks too."""
    assert ([{"a": "</think> <think>"}], True) == objects('{"a": "</think> <think>"}')


def test_an_inch_mark_costs_nothing():
    """A quotation mark that the model forgot to escape leaves the object and its neighbours whole."""
    reply = '[{"a": "a 5" pipe of "old" make", "b": "1"}, {"a": "y"}]'
    assert [{"a": 'a 5" pipe of "old" make', "b": "1"}, {"a": "y"}] == objects(reply).values


def test_raw_line_breaks_are_kept():
    assert [{"a": "one\n  two"}] == objects('{"a": "one\n  two"}').values


def test_brackets_in_a_cut_object_are_text():
    """What a cut object quotes is not taken for an object of the reply."""
    reply = '{"items": [{"question": "q", "evidence": "see {\\"question\\": \\"fake\\", \\"answer\\": \\"fake\\"} and'
    assert ([], False) == objects(reply)


@pytest.mark.parametrize(
    "reply",
    [
        '{"approved": false, "approved": true}',
        '[{"a": "say "no", then "B", "b": "1"}, {"a": "two", "b": "2"}]',
    ],
)
def test_what_can_be_read_in_two_ways_is_not_read(reply):
    assert all("two" not in str(value) or value == {"a": "two", "b": "2"} for value in objects(reply).values)
    assert "True" not in str(objects(reply).values)


def test_a_broken_wrapper_is_left_away():
    """Every object in it stands by itself."""
    assert ([{"a": "x"}, {"a": "y"}], True) == objects('{"items": [{"a": "x"}, {"a": "y"},], }')


def test_deep_nesting_is_no_crash():
    deep = "[" * 20_000
    assert ([], False) == objects(deep)
    assert [{"a": 1}] == holding(objects(deep + '{"a": 1}' + "]" * 20_000).values, "a")
    assert ([], False) == objects(deep + "}" * 20_000)


def test_objects_with_a_key_are_found_in_their_wrappers():
    """In their order, and not what such an object quotes."""
    first, second = {"question": "1", "inner": {"question": "no"}}, {"question": "2"}
    values = [{"result": {"pairs": [first]}}, {"question": "3"}, [[second], 4, None]]
    assert [first, {"question": "3"}, second] == holding(values, "question")


def test_names_of_members_may_be_written_otherwise():
    assert [{" Short Answer": 1}] == holding([{" Short Answer": 1}, {"shortanswer": 2}], "short_answer")
