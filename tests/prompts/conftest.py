"""Books are built anew here: what a process remembers of them would answer for the code under test."""

from __future__ import annotations

import pytest

from safetext_sdk.prompts import build


@pytest.fixture(autouse=True)
def books_are_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_KEPT", 0)
