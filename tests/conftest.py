"""What the tests share: a receiver on a store in memory, and the log lines that it wrote."""

import importlib
from pathlib import Path

import pytest

from tests.desk import Desk
from tests.lines import Lines


@pytest.fixture
def logged(capsysbinary: pytest.CaptureFixture[bytes]) -> Lines:
    """The log lines of the test so far."""
    return Lines(capsysbinary)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="session")
def metrics_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prometheus decides at its first import, and for good, to write files there."""
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
        importlib.import_module("prometheus_client")
    return folder


@pytest.fixture
def metrics_folder(metrics_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics_files))
    return metrics_files
