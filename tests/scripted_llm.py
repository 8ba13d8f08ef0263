"""What the tests of LLM share: models whose provider is scripted, or waits to be told, and whose tokens are dear."""

import asyncio

from text2expert.exchange import Completion, Usage
from text2expert.llm import LLM
from text2expert.prices import Price
from text2expert.testing import ScriptedProvider

# A dime for a token of a prompt, a dollar for one of a reply.
PRICE = Price(input=100_000, output=999_999)


def scripted(*answers, **settings):
    provider = ScriptedProvider(list(answers))
    return LLM("model", provider=provider, **{"price": PRICE, **settings}), provider


def answered(text="yes", *, input_tokens=10, output_tokens=2, **more):
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    return Completion(**{"text": text, "usage": usage, "finish": "stop", "model": "model", **more})


def ask(model, prompt="Why?", **settings):
    return asyncio.run(model.complete(prompt, **settings))


class Held:
    """A provider whose requests wait until they are told what comes of them."""

    endpoint = "http://localhost/held"

    def __init__(self):
        self.requests, self.answers = [], []

    async def complete(self, request):
        self.requests.append(request)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]


async def idle():
    """Let everything run that can."""
    for _ in range(50):
        await asyncio.sleep(0)


def worst_case(request):
    return (PRICE.input * len(request.canonical.encode()) + PRICE.output * request.max_tokens) / 1_000_000
