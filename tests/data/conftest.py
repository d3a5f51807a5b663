from __future__ import annotations

from pathlib import Path

import pytest

from simmc.data import preprocess
from tests.data import make


@pytest.fixture(scope="session")
def kgbd_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preprocessed KGBD of synthetic walks: 4 persons, windows of 6."""
    root = tmp_path_factory.mktemp("kgbd")
    make.kgbd_raw(root, {1: 5, 2: 4, 5: 5, 9: 3})
    preprocess.preprocess(root, root, ["KGBD"], 6)
    return root
