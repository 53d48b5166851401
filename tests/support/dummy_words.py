"""Two made-up words that the minors filter takes for a minor and for sexual content: no test has to write a
text that has both."""

from __future__ import annotations

import pytest

from safetext_sdk.policy import minors

MINOR, SEXUAL = "glimkin", "flurbish"


def add_dummy_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the two into the filter's lists, beside its own words."""
    young, sexual = minors._MINOR | {MINOR}, minors._SEXUAL | {SEXUAL}
    monkeypatch.setattr(minors, "_MINOR", young)
    monkeypatch.setattr(minors, "_SEXUAL", sexual)
    monkeypatch.setattr(minors, "_MINOR_ASCII", minors._pattern(young, "[a-z]", "[a-z0-9]"))
    monkeypatch.setattr(minors, "_SEXUAL_ASCII", minors._pattern(sexual, "[a-z]"))
