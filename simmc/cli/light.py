"""Help pages without the numeric libraries: importing torch takes longer than reading them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIBRARIES = {"torch", "numba", "scipy", "sklearn", "pyarrow", "ray", "threadpoolctl", "matplotlib"}


class _StandIn(ModuleType):
    """Stands for a module and everything in it: a base class, a decorator, an annotation."""

    __path__: list[str] = []  # noqa: RUF012 - as of every package

    def __getattr__(self, name: str) -> Any:
        if name == "__file__":  # a stand-in has no file
            raise AttributeError(name)
        return _StandIn(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return ()

    def __getitem__(self, key: Any) -> Any:
        return self

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__


class _StandIns(MetaPathFinder, Loader):
    """Finds stand-ins in the place of the libraries, as Sphinx does to read docstrings."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in LIBRARIES:
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

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
