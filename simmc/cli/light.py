"""Help pages without the numeric libraries: importing torch takes longer than reading them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

LIBRARIES = {"torch", "numba", "scipy", "sklearn", "pyarrow", "ray", "threadpoolctl", "matplotlib"}


class _StandIns(MetaPathFinder, Loader):
    """Finds an object that accepts everything in the place of each library, as Sphinx does."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in LIBRARIES:
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> Any:
        return MagicMock(name=spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute."""


@contextmanager
def without_libraries() -> Iterator[None]:
    """Import modules of this project without the libraries, which makes help pages fast.

    What is imported meanwhile cannot compute anything, so nothing but a help page may follow in
    this process. Libraries that are imported already stay.
    """
    if LIBRARIES & sys.modules.keys():  # called from a program that computes
        yield
        return
    finder = _StandIns()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
