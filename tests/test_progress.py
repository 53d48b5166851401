"""The bar of a training on a terminal of 80 columns."""

from __future__ import annotations

import pytest

from safetext_sdk.progress import Bar


@pytest.mark.parametrize("columns", [60, 80])
def test_counts_and_times_stay_whole_on_a_narrow_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with Bar(1600, show=True) as bar:
        bar.update(1597, {"loss": 0.32, "unsafe": 0.1163, "safe": 0.2037, "adversarial": 1.3})
    shown = capsys.readouterr().err.strip().splitlines()
    assert all(len(line) <= columns for line in shown)
    assert "1597/1600" in shown[-1]
    assert "0:00:00" in shown[-1]
    assert "loss 0.320" in shown[-1]


def test_a_bar_that_is_not_wanted_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(10, show=False) as bar:
        bar.update(1, {"loss": 0.5})
        bar.say("hello")
    assert capsys.readouterr().err == ""
