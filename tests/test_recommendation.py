"""A planted exam for each verdict and each next step; what each says of it."""

import textwrap

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_exams import answers, chunk, question, questions, span

from text2expert.errors import InputError
from text2expert.examiner.case import Share, is_better, is_worse, n_tokens, source_tokens
from text2expert.examiner.recommendation import GOOD, LEAST, recommend
from text2expert.examiner.results import Comparison, ContestantCost, Economics, ExamResult
from text2expert.examiner.statistics import compare

EXAM = questions("held_out", 200)


def costs(expert=1.0, rag=3.0, making=10.0, break_even=5_000.0):
    return Economics(
        costs=(
            ContestantCost(contestant="expert", usd_per_1000=expert),
            ContestantCost(contestant="base + RAG", usd_per_1000=rag),
        ),
        making_usd=making,
        against="base + RAG",
        break_even=break_even,
    )


def judged(right, exam=EXAM, *, share_taught=1.0, economics=None, chunks=(), **facts):
    """The recommendation where each contestant got so many right: a number of ``held_out``, rows, or ids."""
    given = []
    for name, ok in right.items():
        given += answers(name, exam, {"held_out": ok} if isinstance(ok, int) else ok)
    result = ExamResult(
        exam_sha256="", contestants=tuple(right), scores=(), share_taught=share_taught, economics=economics
    )
    return recommend(result, exam=exam, answers=given, chunks=chunks, **facts)


def one_step(found, start):
    """The one next step that opens so."""
    (step,) = [each for each in found.next if each.startswith(start)]
    return step


def no_step(found, start):
    return not any(each.startswith(start) for each in found.next)


# -- verdicts --------------------------------------------------------------------------------------------------------


def test_the_expert_is_to_be_used_where_it_is_better_than_rag():
    found = judged({"base": 20, "expert": 180, "base + RAG": 150})
    assert "expert" == found.use
    assert (
        "Use the expert: it is right on 90 % [85-93] of the questions that it was not trained on, RAG on 75 % [69-80]."
        == found.headline
    )
    assert found.because[0] == (
        "The expert, without the text at hand, was right on 90 % of 200 questions (95 % interval 85 to 93 %) that it was "
        "not trained on."
    )
    assert any("the expert had 30 and RAG 0: a difference of +15 points" in each for each in found.because)
    assert any("p < 0.001" in each for each in found.because)


def test_rag_is_to_be_used_where_it_is_better():
    found = judged({"base": 20, "expert": 150, "base + RAG": 180})
    assert ("rag", "Use RAG: it is right on 90 % [85-93], the expert on 75 % [69-80].") == (found.use, found.headline)


def test_both_are_to_be_used_where_together_they_are_better_than_each():
    found = judged({"base": 20, "expert": 150, "base + RAG": 150, "expert + RAG": 185})
    assert "both" == found.use
    assert (
        "Use both: the expert with RAG is right on 92 % [88-95], the expert alone on 75 % [69-80], RAG alone on 75 % [69-80]."
        == found.headline
    )


def test_passages_that_help_only_the_expert_are_no_reason_for_both():
    assert "rag" == judged({"base": 20, "expert": 150, "base + RAG": 184, "expert + RAG": 186}).use


@pytest.mark.parametrize(("rag", "use"), [(180, "rag"), (100, "neither")])
def test_an_expert_that_has_not_learned_is_not_to_be_made(rag, use):
    found = judged({"base": 60, "expert": 62, "base + RAG": rag})
    assert use == found.use
    assert found.headline.startswith(
        "Do not fine-tune: the expert has not learned the text; it is right on 31 % [25-38], its base before training on 30 % [24-37]."
    )
    assert ("Use RAG" in found.headline) == (use == "rag")


def test_an_expert_that_is_better_than_its_base_and_still_mostly_wrong_has_not_learned():
    found = judged({"base": 10, "expert": 90, "base + RAG": 60})
    assert "neither" == found.use
    assert "has not learned the text; it is right on 45 %" in found.headline


def test_a_base_that_knew_it_all_needs_no_training():
    found = judged({"base": 185, "expert": 186, "base + RAG": 190})
    assert "rag" == found.use
    assert "it knew 92 % before training" in one_step(found, "Ask the base as it is, with RAG")
    assert no_step(found, "Try another base")
    assert "the base is right on 92 % [88-95] already, and training did not make it better" in found.headline


MIXED = [*questions("held_out", 150), *questions("hand_written", 50)]


def test_an_expert_that_knows_its_own_questions_only_has_not_learned_the_text():
    """Rows made from the training pairs ask for nothing that is not taught; a hand-written exam does."""
    found = judged(
        {
            "base": {},
            "expert": {"held_out": 145, "hand_written": 10},
            "base + RAG": {"held_out": 110, "hand_written": 25},
        },
        MIXED,
    )
    assert "neither" == found.use
    assert "it is right on 78 % in all, on 20 % where others ask (hand-written exam)" in found.headline
    assert "of others (hand-written exam) on 20 %" in one_step(found, "Teach in the words of those who ask")
    assert no_step(found, "Try another base")
    assert "By kind of question: held-out wordings 97 % (RAG 73 %), hand-written exam 20 % (RAG 50 %)." in found.because


def test_an_expert_that_is_worse_where_others_ask_is_not_to_be_used_though_it_is_better_in_all():
    found = judged(
        {
            "base": {},
            "expert": {"held_out": 145, "hand_written": 28},
            "base + RAG": {"held_out": 110, "hand_written": 45},
        },
        MIXED,
    )
    assert "rag" == found.use
    assert "where others ask (hand-written exam) the expert on 56 % and RAG on 90 %" in found.headline


def test_where_neither_is_good_neither_is_to_be_used():
    found = judged({"base": 20, "expert": 130, "base + RAG": 110})
    assert "neither" == found.use
    assert "Do not fine-tune: the expert is right on 65 %" in found.headline
    assert found.headline.endswith("Nor is RAG good enough: it is right on 55 % [48-62].")


def test_a_text_that_fits_in_a_prompt_is_not_to_be_trained_however_good_the_expert_is():
    found = judged({"base": 20, "expert": 190, "base + RAG": 150}, n_tokens=3_900)
    assert "rag" == found.use
    assert "Do not fine-tune: the whole text, about 3,900 tokens, fits in a prompt; put it there." == found.headline
    assert one_step(found, "Put the whole text")
    assert "expert" == judged({"base": 20, "expert": 190, "base + RAG": 150}, n_tokens=4_001).use


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("word " * 800, 1_000), ("患者の気道内圧は毎時測定する。" * 100, 1_425), ("\u0e1c" * 10 + "a" * 40, 20)],
)
def test_a_character_of_a_script_without_spaces_is_a_token_and_four_others_are_one(text, tokens):
    """Of the Japanese sentence fourteen characters are of such a script; its full stop is not."""
    assert tokens == n_tokens(text)


def test_what_overlapping_chunks_share_is_counted_once():
    overlapping = [chunk(2, 2_000, 6_000), chunk(1, 0, 4_000), chunk(3, 3_000, 3_500), chunk(4, 0, 4_000, document="b")]
    assert 2_500 == source_tokens(overlapping)
    assert 0 == source_tokens([])


@given(st.text("ab \u4e00\u0e01", max_size=60), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8))
def test_chunks_that_cover_a_text_have_its_tokens(text, ends):
    spans = [(min(each), min(max(each), len(text))) for each in ends if min(each) < len(text)]
    covering = [attrs.evolve(chunk(0, *each), text=text[slice(*each)]) for each in [*spans, (0, len(text))]]
    assert n_tokens(text) == source_tokens(covering)


def test_a_text_that_changes_before_the_expert_has_paid_for_itself_is_too_volatile():
    facts = {"economics": costs(break_even=5_000), "questions_per_month": 400, "updates_per_year": 12}
    found = judged({"base": 20, "expert": 180, "base + RAG": 178}, **facts)
    assert "rag" == found.use
    assert found.headline.startswith("Do not fine-tune: the text changes 12 times a year, and between two changes")
    assert any("400 questions are asked between two changes" in each for each in found.because)
    assert one_step(found, "Fine-tune when the text has settled")
    assert (
        "expert" == judged({"base": 20, "expert": 180, "base + RAG": 150}, **facts | {"questions_per_month": 9_000}).use
    )


def test_an_expert_that_never_pays_is_too_volatile_at_any_volume():
    never = attrs.evolve(costs(expert=3.0, rag=3.0), break_even=None)
    found = judged(
        {"base": 20, "expert": 180, "base + RAG": 178}, economics=never, questions_per_month=1e6, updates_per_year=4
    )
    assert "changes 4 times a year" in found.headline


def test_what_changes_less_than_once_a_year_is_not_volatile():
    facts = {"economics": costs(break_even=1e9), "questions_per_month": 1, "updates_per_year": 0.5}
    assert "expert" == judged({"base": 20, "expert": 180, "base + RAG": 150}, **facts).use


def test_whether_a_text_is_too_volatile_is_not_guessed_where_money_was_not_measured():
    found = judged({"base": 20, "expert": 180, "base + RAG": 150}, updates_per_year=12, questions_per_month=1)
    assert "expert" == found.use
    assert any("break-even of the expert was not measured" in each for each in found.because)


@pytest.mark.parametrize(
    ("economics", "use", "words"),
    [
        (costs(), "expert", "it is as good as RAG (90 % [85-93], RAG 90 % [85-93]) and costs less to ask"),
        (None, "rag", "the expert is as good (90 % [85-93], RAG 90 % [85-93]), but is not shown to cost less to ask"),
        (attrs.evolve(costs(expert=4.0), break_even=None), "rag", "not shown to cost less"),
    ],
)
def test_of_equals_the_cheaper_is_to_be_used(economics, use, words):
    found = judged({"base": 20, "expert": 180, "base + RAG": 180}, economics=economics)
    assert use == found.use
    assert words in found.headline


def test_equals_on_few_facts_are_not_shown_to_be_equals():
    few = questions("held_out", 20)
    found = judged({"base": 0, "expert": 18, "base + RAG": 18}, few, economics=costs())
    assert "rag" == found.use
    assert found.headline.endswith("that the expert is as good is not shown.")
    assert any("Only 20 questions were unseen" in each for each in found.because)


@pytest.mark.parametrize(("right", "n", "rag"), [(1, 1, None), (8, 8, 8), (0, 3, 2)])
def test_of_a_handful_of_questions_there_is_no_verdict(right, n, rag):
    """All of eight may be less than 70 % of all that there are to ask; of nine, no more."""
    found = judged({"expert": right} | ({} if rag is None else {"base + RAG": rag}), questions("held_out", n))
    assert "neither" == found.use
    assert found.headline.startswith(
        f"No verdict: {n} unseen question{'s'[: n - 1]} cannot show who is right often enough; "
    )
    assert f"the expert was right on {right} of {n}" in found.headline
    assert one_step(found, f"Ask more questions: {n} {'says' if n == 1 else 'say'} little")
    assert Share(LEAST, LEAST).interval[0] >= GOOD > Share(LEAST - 1, LEAST - 1).interval[0]


def test_an_expert_that_is_not_shown_to_be_better_than_a_poor_rag_says_so():
    found = judged({"expert": 25, "base + RAG": 20}, questions("held_out", 30))
    assert "expert" == found.use
    assert found.headline.endswith(
        "RAG, on 67 % [49-81], is not good enough, though that the expert is better is not shown."
    )


def test_two_that_never_differed_are_not_said_to_differ_by_nothing():
    found = judged({"expert": 18, "base + RAG": 18}, questions("held_out", 20))
    assert any(
        each.endswith("The expert and RAG were right and wrong on the same questions.") for each in found.because
    )


def test_without_rag_the_expert_stands_alone_and_rag_is_to_be_asked():
    found = judged({"base": 20, "expert": 180})
    assert "expert" == found.use
    assert "Use the expert: it is right on 90 % [85-93] of unseen questions; RAG was not asked." == found.headline
    assert one_step(found, "Ask RAG the same exam")


def test_an_exam_of_taught_questions_alone_gives_no_verdict():
    found = judged({"base": {}, "expert": {"taught": 10}}, questions("taught", 10))
    assert ("neither", ()) == (found.use, found.because)
    assert found.headline.startswith("No verdict")
    assert one_step(found, "Give an exam of your own")


@pytest.mark.parametrize(
    ("expert", "rag", "words"),
    [(120, 180, "here RAG won"), (180, 120, "here the expert won"), (150, 152, "here neither won beyond chance")],
)
def test_the_toy_proves_the_pipeline_and_the_headline_says_so_and_who_won(expert, rag, words):
    found = judged({"base": 0, "expert": expert, "RAG, no model": rag}, toy=True)
    assert found.headline.startswith("This run proves the pipeline, not the expert")
    assert words in found.headline
    assert found.because[0].startswith("By the figures alone: ")
    assert found.next[0].startswith("Train a real base")


def test_the_headline_of_a_toy_says_that_rag_won_where_others_ask_though_neither_won_in_all():
    exam = [*questions("held_out", 360), *questions("never_asked", 50), *questions("hand_written", 50)]
    found = judged(
        {
            "base": {},
            "expert": {"held_out": 300, "never_asked": 3, "hand_written": 1},
            "RAG, no model": {"held_out": 275, "never_asked": 38, "hand_written": 20},
        },
        exam,
        toy=True,
    )
    assert found.headline == (
        "This run proves the pipeline, not the expert, whose base is a toy; RAG won where others ask "
        "(hand-written exam: RAG 40 %, expert 2 %; facts never asked: RAG 76 %, expert 6 %)."
    )


def test_the_headline_of_a_toy_says_that_it_knows_its_own_questions_only():
    """RAG does not do better there, and so did not win."""
    found = judged(
        {"expert": {"held_out": 145, "hand_written": 5}, "RAG, no model": {"held_out": 110, "hand_written": 6}},
        MIXED,
        toy=True,
    )
    assert found.headline.endswith("it learned its own questions only (hand-written exam: RAG 12 %, expert 10 %).")


def test_one_is_not_several():
    found = judged(
        {"expert": {"held_out": 1, "unanswerable": 1}},
        [*questions("held_out", 1), *questions("unanswerable", 1, answer=None)],
    )
    said = " ".join(found.because)
    assert "right on 100 % of 1 question (95 %" in said
    assert "Of 1 question that the text does not answer" in said
    assert "Only 1 question was unseen" in said


# -- what next -------------------------------------------------------------------------------------------------------

GOOD_EXAM = [*EXAM, *questions("taught", 100)]


def test_an_expert_with_nothing_left_to_do_is_told_to_do_nothing():
    found = judged({"base": {}, "expert": {"held_out": 200, "taught": 100}, "base + RAG": {"held_out": 150}}, GOOD_EXAM)
    assert () == found.next


def test_wordings_that_were_learned_by_heart_ask_for_more_wordings():
    found = judged({"base": {}, "expert": {"held_out": 140, "taught": 99}}, GOOD_EXAM)
    assert "taught ones are right on 99 %, others on 70 %" in one_step(found, "Teach more wordings")
    assert no_step(found, "Train longer")


def test_an_expert_that_cannot_repeat_its_lessons_has_to_train_longer():
    found = judged({"base": {}, "expert": {"held_out": 140, "taught": 75}}, GOOD_EXAM)
    assert "even of the taught wordings only 75 % are right" in one_step(found, "Train longer")
    assert no_step(found, "Teach more wordings")


def test_a_text_of_which_little_is_taught_asks_for_coverage():
    found = judged({"base": 20, "expert": 180}, share_taught=0.48)
    assert "48 % of it is taught" in one_step(found, "Teach more of the text")
    assert no_step(judged({"base": 20, "expert": 180}, share_taught=0.85), "Teach more of the text")
    assert no_step(judged({"base": 20, "expert": 180}, share_taught=None), "Teach more of the text")


def test_facts_that_no_question_asks_for_ask_for_training_on_the_text():
    exam = [*EXAM, *questions("never_asked", 50)]
    assert one_step(
        judged({"base": {}, "expert": {"held_out": 180, "never_asked": 5}}, exam), "Train on the text itself"
    )
    assert no_step(
        judged({"base": {}, "expert": {"held_out": 180, "never_asked": 40}}, exam), "Train on the text itself"
    )


def test_a_base_that_cannot_read_is_to_be_replaced_and_not_the_search():
    found = judged({"base": 20, "expert": 120, "base + RAG": 100, "base + right passage": 130})
    assert "this one is right on 65 % only" in one_step(found, "Take another base")
    assert no_step(found, "Mend the search")


def test_a_search_that_misses_what_the_base_could_read_is_to_be_mended():
    found = judged({"base": 20, "expert": 150, "base + RAG": 120, "base + right passage": 195})
    assert "is right on 98 %, with those that RAG finds on 60 %" in one_step(found, "Mend the search")
    assert no_step(found, "Take another base")


def test_a_base_that_did_not_take_the_text_up_is_to_be_replaced():
    assert one_step(judged({"base": 20, "expert": 30, "base + RAG": 180}), "Try another base")


def test_questions_that_combine_passages_ask_for_a_larger_base_and_crossings():
    chunks = [chunk(1, 0, 100, "A"), chunk(2, 100, 200, "B")]
    exam = [
        *questions("held_out", 100, evidence=(span(0, 10),)),
        *questions("across", 50, evidence=(span(0, 10), span(100, 110))),
    ]
    found = judged({"base": {}, "expert": {"held_out": 95, "across": 20}}, exam, chunks=chunks)
    assert "right on 95 % of the questions that take one passage, and on 40 %" in one_step(found, "Take a larger base")


def test_made_up_answers_ask_for_refusals_and_too_many_refusals_for_fewer():
    exam = [*EXAM, *questions("unanswerable", 40, answer=None)]
    bold = judged({"base": {}, "expert": {"held_out": 180, "unanswerable": 10}}, exam)
    assert "25 % were refused" in one_step(bold, "Train refusals")
    assert any("made up an answer for 30" in each for each in bold.because)
    assert no_step(bold, "Train fewer refusals")

    right = {"held_out": 150, "unanswerable": 40}
    given = [
        attrs.evolve(each, grade="refused") if each.grade == "wrong" else each
        for each in answers("expert", exam, right)
    ]
    result = ExamResult(exam_sha256="", contestants=("expert",), scores=(), share_taught=1.0)
    shy = recommend(result, exam=exam, answers=given)
    assert "25 % of the answers that the text has were withheld" in one_step(shy, "Train fewer refusals")
    assert no_step(shy, "Train refusals")


def test_what_was_forgotten_asks_for_replay():
    exam = [*EXAM, *questions("general", 60)]
    found = judged({"base": {"general": 55}, "expert": {"held_out": 180, "general": 40}}, exam)
    assert "25 points of general knowledge were lost" in one_step(found, "Replay general examples")
    assert any("Of 60 general questions, 15 were forgotten in training and 0 came" in each for each in found.because)
    assert no_step(judged({"base": {"general": 55}, "expert": {"held_out": 180, "general": 54}}, exam), "Replay")


def test_an_exam_that_cannot_decide_asks_for_more_questions_and_says_how_many():
    ids = {each.id for each in EXAM[20:]}
    found = judged({"base": 0, "expert": 180, "base + RAG": ids})
    step = one_step(found, "Ask more questions")
    assert "200 cannot tell the expert from RAG (it may be 6 points either way)" in step
    assert no_step(judged({"base": 0, "expert": 180, "base + RAG": 150}), "Ask more questions")


def test_the_passages_that_are_still_failed_are_named_most_failed_first():
    chunks = [chunk(number, 100 * number, 100 * number + 100) for number in range(4)]
    exam = [
        question(f"q{place}", fact=f"f{place}", evidence=(span(100 * where, 100 * where + 10),))
        for place, where in enumerate([0, 0, 1, 1, 1, 2, 3])
    ]
    found = judged({"expert": {"q0", "q1", "q2", "q6"}}, exam, chunks=chunks)
    assert ("chunk_000001", "chunk_000002") == found.failed
    step = one_step(found, "Look at the 2 passages that are still failed")
    assert "most wrong answers first: chunk_000001, chunk_000002)" in step


def test_an_expert_that_knows_no_more_than_a_lookup_is_told_so():
    found = judged({"base": 0, "expert": 180, "base + RAG": 100, "lookup": 182})
    assert any("the likest training question is right on 91 %" in each for each in found.because)


# -- its rules -------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 30)), min_size=1, max_size=120),
    with_both=st.booleans(),
    paid=st.sampled_from([None, costs(), attrs.evolve(costs(expert=4.0), break_even=None)]),
    toy=st.booleans(),
)
def test_the_expert_is_never_advised_where_rag_is_better_beyond_chance(rows, with_both, paid, toy):
    exam = [
        question(f"q{place:03d}", "hand_written" if fact % 3 == 0 else "held_out", fact=f"f{fact}")
        for place, (*_, fact) in enumerate(rows)
    ]
    right = {
        name: {each.id for each, row in zip(exam, rows, strict=True) if row[column]}
        for column, name in enumerate(("expert", "base + RAG", "expert + RAG")[: 2 + with_both])
    }
    found = judged(right, exam, economics=paid, toy=toy)
    given = [each for name, ids in right.items() for each in answers(name, exam, ids)]
    assert len(textwrap.wrap(f"Verdict: {found.headline}", 98)) <= 2
    for row in ("all", "hand_written"):
        assert not (is_worse(compare(exam, given, "expert", "base + RAG", row=row)) and found.use == "expert")
    assert not (is_better(compare(exam, given, "base + RAG", "expert")) and found.use == "expert")
    if found.use == "both":
        assert is_better(compare(exam, given, "expert + RAG", "base + RAG"))
    if found.use == "rag":
        assert GOOD <= len(right["base + RAG"]) / len(exam)


def test_few_facts_asked_often_are_not_beyond_chance():
    comparison = Comparison(
        row="all",
        one="expert",
        other="base",
        n=40,
        only_one=20,
        only_other=4,
        p=0.002,
        difference=0.4,
        interval=(-0.1, 0.9),
    )
    assert not is_better(comparison)
    assert is_worse(attrs.evolve(comparison, difference=-0.4, interval=(-0.9, 0.1)))


@pytest.mark.parametrize(("facts", "better"), [(2, False), (5, False), (6, True)])
def test_to_be_better_takes_six_facts_on_which_the_two_differ(facts, better):
    """Ten wordings of each make the exact test sure; two facts are still two facts."""
    exam = [question(f"q{place}", fact=f"f{place % facts}") for place in range(10 * facts)]
    given = [*answers("expert", exam, {each.id for each in exam}), *answers("base", exam, set())]
    comparison = compare(exam, given, "expert", "base")
    assert comparison.p < 0.001
    assert comparison.interval[0] > 0
    assert better == is_better(comparison)


def test_an_exam_without_the_expert_cannot_be_judged():
    with pytest.raises(InputError, match="no contestant 'expert' to judge: there are 'base'"):
        judged({"base": 10})


@pytest.mark.parametrize("name", ["n_tokens", "updates_per_year", "questions_per_month"])
def test_a_negative_number_is_refused(name):
    with pytest.raises(InputError, match=f"{name} must be a number from 0 on"):
        judged({"expert": 10}, **{name: -1})
