"""A run with a report that passes: made once, and copied for every test that changes something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.bound_case import validated


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return validated(tmp_path_factory.mktemp("made") / "run").path


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"
