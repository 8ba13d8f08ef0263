"""A pipeline of a teacher and a verifier that are paid for, at servers on this machine."""

import contextlib
from decimal import Decimal

from chat_server import ChatServer
from messages_server import KEY, MessagesServer
from scripted_models import judge, teach

from text2expert import LLM, Ledger, Pipeline, Teacher, Verifier
from text2expert.prices import tariff

TEACHER_KEY = "sk-deepseek-test-2c9f"


@contextlib.contextmanager
def servers(teacher=teach, verifier=judge, **settings):
    """Both servers, as a pair; *settings* are the teacher's server's."""
    with (
        ChatServer(teacher, keys={TEACHER_KEY}, models={"deepseek-flash"}, **settings) as chat,
        MessagesServer(verifier) as messages,
    ):
        yield chat, messages


def pipeline(chat, messages, *, teacher=None, verifier=None, llm=None, **settings):
    """Steps that ask these servers; *teacher*, *verifier* and *llm* are their further arguments."""
    return Pipeline(
        teacher=Teacher(
            LLM("deepseek/deepseek-flash", base_url=chat.url, api_key=TEACHER_KEY, **(llm or {})), **(teacher or {})
        ),
        verifier=Verifier(
            LLM("anthropic/claude-sonnet-5-5", base_url=messages.url, api_key=KEY, **(llm or {})), **(verifier or {})
        ),
        **settings,
    )


def spent(folder):
    """What the ledger in *folder* says of each step."""
    with Ledger(folder) as ledger:
        return {scope: ledger.spent(scope) for scope in ("", "teacher", "verifier")}


def dearest(chat):
    """What the teacher's server billed, at peak prices."""
    price = tariff("deepseek-flash", endpoint=chat.url)
    return sum(
        (price.ceiling(billed.usage["prompt_tokens"], billed.usage["completion_tokens"]) for billed in chat.bill),
        Decimal(0),
    )
