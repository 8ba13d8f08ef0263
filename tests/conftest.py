"""What every test stands on: no keys, no network, no model hub."""

import os
import re

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """No test depends on, or can leak, a key of whoever runs it."""
    for name in list(os.environ):
        if re.search(r"API_KEY|TOKEN$|SECRET", name):
            monkeypatch.delenv(name)
