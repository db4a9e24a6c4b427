"""The log lines on standard output, as they are written."""

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, overload

import pytest

Line = dict[str, Any]


class Lines(Sequence[Line]):
    """Reads what has come to standard output each time it is looked at."""

    def __init__(self, output: pytest.CaptureFixture[bytes]) -> None:
        self._output = output
        self._read: list[Line] = []

    def _all(self) -> list[Line]:
        self._read += [json.loads(line) for line in self._output.readouterr().out.splitlines()]
        return self._read

    @overload
    def __getitem__(self, at: int) -> Line: ...
    @overload
    def __getitem__(self, at: slice) -> list[Line]: ...
    def __getitem__(self, at: int | slice) -> Line | list[Line]:
        return self._all()[at]

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Keep thousands of log lines out of the report of a failure."""
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        yield
