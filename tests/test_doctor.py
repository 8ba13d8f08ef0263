"""Doctor, where the commands' tests do not reach."""

from importlib import metadata

from text2expert import doctor


def test_a_checkout_that_is_not_installed_is_said_to_be_so(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    (line,) = [line for line in doctor.report().splitlines() if line.startswith("  core")]
    assert "text2expert itself is not installed: pip install -e ." in line
