"""Doctor, where the commands' tests do not reach."""

from importlib import metadata

import pytest

from text2expert import doctor


def test_a_checkout_that_is_not_installed_is_said_to_be_so(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    (line,) = [line for line in doctor.report().splitlines() if line.startswith("  core")]
    assert "text2expert itself is not installed: pip install -e ." in line


def lines_of(name):
    return [line for line in doctor.report().splitlines() if name in line]


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("DEEPSEEK_API_KEY", "api.deepseek.com"),
        ("ANTHROPIC_API_KEY", "api.anthropic.com"),
        ("OPENAI_API_KEY", "api.openai.com"),
        ("HF_TOKEN", "huggingface.co"),
    ],
)
def test_it_says_where_a_key_goes_and_never_the_key(monkeypatch, name, host):
    monkeypatch.setenv(name, "a-very-secret-one")
    line, *_ = lines_of(name)
    assert " set " in line
    assert f"goes to {host} alone" in line
    assert "a-very-secret-one" not in doctor.report()


def test_another_hub_is_said_to_get_no_token(monkeypatch):
    assert [] == lines_of("HF_ENDPOINT")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    (line,) = lines_of("HF_ENDPOINT")
    assert "hf auth login" in line


def test_it_says_what_measures_tokens(monkeypatch, tmp_path):
    """Without tiktoken's ranks in its cache, which are never downloaded, bytes stand in."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    (line,) = lines_of("tokens ")
    assert "utf8-bytes/4" in line
