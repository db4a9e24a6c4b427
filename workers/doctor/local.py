"""What can be seen on this machine without Redis: the modes of files, the speed of the disk, installed libraries."""

import os
import re
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from receiver import config
from receiver.config import Settings
from receiver.errors import Unavailable
from receiver.rows import SpoolFile, now
from workers.doctor.facts import Machine, Package, Spool

_LIBRARIES = ("rq", "redis", "gunicorn")
_DAY = 24 * 3600 * 1_000_000  # in a row's own microseconds
_TRIES = 5
_PIECE = b"\0" * 4096
_OTHERS = 0o007
_GROUP = 0o070
_READ = 0o044
_ENTER = 0o011


def look(settings: Settings, environ: Mapping[str, str]) -> Machine:
    """Return what this machine shows; nothing is left behind on its disk."""
    path = config.locate(environ)
    named = environ.get("PROMETHEUS_MULTIPROC_DIR")
    metrics = Path(named) if named else settings.data / "metrics"
    refused, seconds = _written(settings.data)
    files = [(reference, path.absolute().parent / name) for reference, name in _secret_files(path)]
    return Machine(
        packages=packages(),
        open_secrets=tuple(reference for reference, found in files if _readable(found, _OTHERS)),
        shared_secrets=tuple(
            reference for reference, found in files if _readable(found, _GROUP) and not _readable(found, _OTHERS)
        ),
        config_writable=bool(path.stat().st_mode & 0o002),
        data=refused,
        metrics=_written(metrics)[0],
        fsync=seconds,
        spool=_spool(settings),
    )


def _spool(settings: Settings) -> Spool:
    """Count what waits in the spool; a file that is not there is none."""
    file = SpoolFile(settings.data, settings.spool_max)
    try:
        found = file.state(now() - settings.dedupe_days * _DAY if settings.dedupe_days else 0)
    except Unavailable as exc:
        return Spool(" ".join(filter(None, (exc.reason.value, exc.detail))))
    age = time.time() - found.oldest if found.oldest else 0.0
    return Spool("", found.waiting, found.old, found.parked, age, found.room, settings.spool_max)


def packages() -> tuple[Package, ...]:
    """Return the libraries whose details we rely on, as installed in this environment."""
    wanted: dict[str, str] = {}
    for requirement in metadata.requires("ulak") or ():
        found = re.match(r"([a-z0-9-]+)(?:\[[^]]*\])?([^;]*)", requirement)
        if found:
            wanted.setdefault(found[1], found[2].strip())
    return tuple(Package(name, _installed(name), wanted[name]) for name in _LIBRARIES)


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _secret_files(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each ``file:`` reference of the configuration, with the name of its file."""
    seen: set[str] = set()

    def walk(tree: Any) -> Iterator[str]:
        if isinstance(tree, str):
            yield tree
        elif isinstance(tree, dict | list):
            for inner in tree.values() if isinstance(tree, dict) else tree:
                yield from walk(inner)

    for text in walk(tomllib.loads(path.read_text("utf-8"))):
        scheme, _, name = text.partition(":")
        if scheme == "file" and text not in seen:
            seen.add(text)
            yield text, name


def _readable(path: Path, who: int) -> bool:
    """Say whether *who*, others or the group, may read the file: its own mode, and all folders on the way to it."""
    try:
        if not path.stat().st_mode & who & _READ:
            return False
        ways = _ENTER if who == _GROUP else _ENTER & _OTHERS
        return all(folder.stat().st_mode & ways for folder in path.resolve().parents)
    except OSError:
        return False


def _there(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists: the receiver makes what is missing."""
    return next(found for found in (folder.absolute(), *folder.absolute().parents) if found.exists())


def _written(folder: Path) -> tuple[str, float]:
    """Return why the folder cannot be written to ("": it can), and how many seconds a small write to the disk takes."""
    there = _there(folder)
    if there != folder.absolute():
        return ("" if os.access(there, os.W_OK | os.X_OK) else "Permission denied"), 0.0
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:

            def write() -> None:
                trial.write(_PIECE)
                trial.flush()
                os.fsync(trial.fileno())

            return "", median(_timed(write) for _ in range(_TRIES))
    except OSError as exc:
        return exc.strerror or type(exc).__name__, 0.0


def _timed(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
