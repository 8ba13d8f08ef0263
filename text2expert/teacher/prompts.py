"""What a teacher is told.

The fixed part is the same in every call and comes first, so that a provider's prompt cache serves it; passages and the
number of questions come last. Fields in braces are filled in: `FIELDS` says which there are. Other braces stand for themselves.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from text2expert.errors import InputError
from text2expert.passages import DATA_RULE, fenced, shown
from text2expert.records import Chunk

PROMPT = """\
You write the questions and answers from which a small language model learns {domain} by heart. Once trained, it answers \
{audience} from memory alone: neither passage nor document will be in front of it. You are shown a passage of a document, \
under its headings. Write questions that {audience} would really ask and that the passage answers, each with its answer.

DATA
{data_rule}

THE QUESTION
1. Ask what {audience} must know or decide: what to do in a given situation, limits and amounts, deadlines, who may or must \
act, conditions, exceptions, the order of steps, what a term means. Not how the document is built, numbered or worded.
2. It stands alone. It names what it is about in full: the thing, the task, the condition under which the rule holds, and \
the organisation, system or document by its name wherever the passage or its headings give that name. A reader who knows \
the whole document by heart, but does not see the passage, must know at once which rule is meant. Never write "this \
section", "the passage", "the text", "the document", "according to the passage", "the following" or "mentioned above", and \
never "it", "they" or "the procedure" for something that the question has not named.
3. It has exactly one right answer, and the passage states that answer, or it follows from the passage by a step that you \
can show. Nothing comes from general knowledge, even where you know better. What the passage leaves open is not asked.
4. Questions of one reply ask for different facts, spread over the whole passage, those first whose ignorance would do the \
most harm. Make them of different kinds: some ask for a fact directly; some describe a concrete, realistic case with its \
figures and ask what follows; some ask the other way round, from a value or an action to what it belongs to.

THE ANSWER
5. "evidence": a list of quotes from the passage that prove the answer, mostly one, as short as the proof allows. Copy \
character by character: the same words, spelling, signs, digits and line breaks, nothing left out, joined, shortened with \
dots or corrected. Two stretches that are apart are two quotes. Never quote headings that stand in the context only.
6. "reasoning": one to three sentences. Cite the heading, by number and title as far as it has them, and the rule that it \
states; then show how the answer follows: in a case, which figure meets which condition.
7. "answer": complete but tight, one to three sentences that name their subject and can be understood without the \
question. Keep every condition, exception, limit, unit and qualifier that changes what one would do (unless, only if, at \
least, within, except). Figures and units stay as they are written. A list that is asked for is given whole. The answer \
speaks of the matter, never of "the passage" or "the text".
8. "short_answer": the shortest words that answer the question, at most six or so, in the words of the passage, with sign \
and unit: "at least 20 minutes", "the duty engineer". Where the question asks whether, "yes" or "no".
9. "difficulty": "easy" where one fact is given back as it stands; "medium" where a condition, an exception or several \
facts must be heeded; "hard" where rules are applied to a case, combined or calculated with.
{wordings_rule}
FORM
Write in the language of the passage; the names of the fields and the three levels of difficulty stay in English. Reply in \
json: one object as in the example, nothing before or after it, no code fence. Where a passage holds nothing that anyone \
would ask (a title page, a table of contents, a list of signatures), reply {"items": []}.

EXAMPLE
{example}"""
"""The system prompt."""

WORDINGS_RULE = """\
10. "wordings": {rewordings} more ways to ask the very same question; the same answer must be as right and as complete for \
each. They differ in form and order, not by synonyms alone: the condition first or last; as a case that a colleague \
reports; as an order ("Name ..."); turned round; as terse as in a search box. Each stands alone as rule 2 says and keeps \
every figure and condition of the question."""

CROSS_PROMPT = """\

SEVERAL PASSAGES
You are shown two or three passages that belong together. Ask only what none of them answers by itself, and what a reader \
of one alone would get wrong: one gives the rule, another its limit, its exception, a definition, or what to do once the \
limit is reached. Best is a case: a situation with its figures, in which the rule of one passage leads into that of \
another ("... is already at its maximum. What is done next?"). "evidence" holds at least one quote from each passage that \
the answer needs, so from two or more. The reasoning goes step by step: it cites the heading of each, and says how one \
leads to the other. Where nothing needs more than one passage, reply {"items": []}."""
"""Goes behind the system prompt where passages are shown together."""

REWRITE_PROMPT = """\
You restate passages of {domain}. A small language model learns from your words what the passage says, and one learns \
best what one has read in more than one order and form. It will be asked by {audience}, who relies on it: nothing but order \
and form may change.

DATA
{data_rule}

RULES
1. Say all of it: every fact, condition, exception, name, unit and cross-reference. Add nothing, explain nothing, soften \
nothing: "must" stays "must", "may" stays "may", "unless" stays an exception.
2. Another order: begin with what stands in the middle or at the end; put conditions before rules that had them after, and \
the other way round. Steps that must be taken in a sequence are still told in it.
3. Another form: other sentences, not the old ones with other words. Lists and tables become sentences that name row and \
column for each value.
4. Copy every number as it is written, with its unit and sign, numbers of headings and clauses too ("Section 4.2 ..."). \
Digits stay digits and words stay words; no number is added, not even to count points.
5. Each sentence names its subject, and the restatement names the section, document or organisation as far as the passage \
or its headings name it. Never "this section" or "the passage".
6. Plain running text in the language of the passage, about as long as the passage: no headings, list marks, tables or \
other markup.

FORM
Where several restatements are asked for, they differ from one another as much as from the passage. Reply in json, nothing \
before or after it, no code fence: {"rewrites": [{"text": "..."}]}"""
"""The system prompt of `Teacher.arewrite`."""

FIELDS = {
    "prompt": ("audience", "data_rule", "domain", "example", "wordings_rule"),
    "cross_prompt": ("audience", "domain"),
    "rewrite_prompt": ("audience", "data_rule", "domain"),
}
"""What may stand in braces in each prompt."""

_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")

_STRING = {"type": "string"}
_STRINGS = {"type": "array", "items": _STRING}

_EXAMPLE_CONTEXT = "3 ROOF VENTS > 3.2 Heat"
_EXAMPLE_PASSAGE = """\
The roof vents of the Orlen Glasshouse are opened when the air stays above 27 °C for 10
minutes, unless the rain sensor is wet. They are closed at 18:00."""
_EXAMPLE_ITEMS: tuple[dict[str, Any], ...] = (
    {
        "evidence": [
            "The roof vents of the Orlen Glasshouse are opened when the air stays above 27 °C for 10\nminutes, unless the rain sensor is wet."
        ],
        "question": "For how long must the air stay above 27 °C before the roof vents of the Orlen Glasshouse are opened?",
        "reasoning": "Section 3.2 (Heat) opens the vents when the air stays above 27 °C for 10 minutes. It excepts a wet rain sensor, so the exception belongs in the answer.",
        "answer": "The air must stay above 27 °C for 10 minutes before the roof vents of the Orlen Glasshouse are opened, and they are not opened while the rain sensor is wet.",
        "short_answer": "10 minutes",
        "difficulty": "medium",
        "wordings": [
            "The air in the Orlen Glasshouse has just risen above 27 °C. How much longer does the gardener wait with the roof vents?",
            "Orlen Glasshouse, roof vents: time above 27 °C before opening",
            "How many minutes above 27 °C does it take until the Orlen Glasshouse opens its roof vents?",
            "Name the time for which it must be warmer than 27 °C before the Orlen Glasshouse opens its roof vents.",
        ],
    },
    {
        "evidence": ["unless the rain sensor is wet"],
        "question": "At the Orlen Glasshouse the air has been at 29 °C for 12 minutes and the rain sensor is wet. What is done with the roof vents?",
        "reasoning": "By Section 3.2 (Heat), 29 °C for 12 minutes would open the vents, since both are above 27 °C and 10 minutes. But the section excepts a wet rain sensor, so they stay shut.",
        "answer": "The roof vents of the Orlen Glasshouse are not opened: a wet rain sensor keeps them shut, although the air has been above 27 °C for more than 10 minutes.",
        "short_answer": "not opened",
        "difficulty": "hard",
        "wordings": [
            "With a wet rain sensor and 12 minutes at 29 °C, what happens to the roof vents of the Orlen Glasshouse?",
            "A colleague reports from the Orlen Glasshouse: rain sensor wet, 29 °C for 12 minutes. What do you say about the roof vents?",
            "Orlen Glasshouse, roof vents at 29 °C for 12 minutes, rain sensor wet",
            "Say what becomes of the roof vents of the Orlen Glasshouse when the rain sensor is wet after 12 minutes at 29 °C.",
        ],
    },
)
"""On an invented subject, so that nothing of it can be true of anyone's document."""


def checked(name: str, template: str) -> str:
    """*template*, if it is text with no other fields than it may have.

    Raises:
        InputError: It is not; the message names the field and those there are.
    """
    allowed = FIELDS[name]
    if not isinstance(template, str) or not template.strip():
        msg = (
            f"{name}={template!r}: must be the text of a prompt; leave it away for the one that comes with the package"
        )
        raise InputError(msg)
    for field in _FIELD.findall(template):
        if field not in allowed:
            msg = f"{name}: {{{field}}} is no field; there are {', '.join(f'{{{each}}}' for each in allowed)}"
            raise InputError(msg)
    return template


def system(template: str, *, audience: str, domain: str, wordings: int = 1) -> str:
    """A system prompt with its fields filled in; *wordings* counts all of a question, itself included."""
    rule = _filled(WORDINGS_RULE, {"rewordings": str(wordings - 1)}) + "\n" if wordings > 1 else ""
    fields = {
        "audience": audience,
        "data_rule": DATA_RULE,
        "domain": domain,
        "example": _example(wordings),
        "wordings_rule": rule,
    }
    return _filled(template, fields)


def teaching(passages: Sequence[Chunk], n: int) -> str:
    """The part that differs from call to call."""
    about = "this passage" if len(passages) == 1 else "these passages"
    questions = "1 question" if n == 1 else f"{n} questions"
    return (
        f"{shown(passages)}\n\n"
        f"Write {questions} about {about} by your rules; fewer only where there are not so many facts that anyone would ask "
        f"for. Reply with the json object alone."
    )


def rewriting(chunk: Chunk, n: int) -> str:
    """The same for restatements."""
    restatements = "one restatement" if n == 1 else f"{n} restatements"
    return f"{shown([chunk])}\n\nWrite {restatements} of this passage by your rules. Reply with the json object alone."


def schema(wordings: int) -> dict[str, Any]:
    """JSON Schema of a reply with questions; evidence first, so that a question is asked of a fact that is there."""
    members: dict[str, Any] = {
        "evidence": _STRINGS,
        "question": _STRING,
        "reasoning": _STRING,
        "answer": _STRING,
        "short_answer": _STRING,
        "difficulty": {"type": "string", "enum": ["easy", "medium", "hard"]},
    }
    return _listing("items", members | ({"wordings": _STRINGS} if wordings > 1 else {}))


REWRITE_SCHEMA: Mapping[str, Any]
"""JSON Schema of a reply with restatements."""


def _listing(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": _object(members)}})


def _object(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
    }


REWRITE_SCHEMA = _listing("rewrites", {"text": _STRING})


def _filled(template: str, fields: Mapping[str, str]) -> str:
    """In one pass: what stands in braces in a value stays as it is."""
    return _FIELD.sub(lambda found: fields[found[1]], template)


def _example(wordings: int) -> str:
    items = [dict(item) for item in _EXAMPLE_ITEMS]
    for item in items:
        reworded = item.pop("wordings")[: wordings - 1]
        if wordings > 1:
            item["wordings"] = reworded
    return (
        f"{fenced(_EXAMPLE_CONTEXT, 'context')}\n{fenced(_EXAMPLE_PASSAGE, 'passage')}\n\n"
        f"Reply to this, were 2 questions asked for:\n{json.dumps({'items': items}, ensure_ascii=False)}"
    )
