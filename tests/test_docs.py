"""Holds the documentation against the code: what is there is documented, and what is documented is there."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from marshmallow import Schema, fields

from receiver import config
from receiver.asking import TROUBLES, Trouble
from receiver.cli import main
from receiver.errors import REASONS, Reason
from receiver.event import Category, Kind, Verdict, Why
from receiver.message import Level
from receiver.ports import Provider
from receiver.providers import PROVIDERS
from receiver.settings import RouteSchema, TopSchema, account_schema
from workers.chores import Done
from workers.comparing import What
from workers.doctor.checking import Check
from workers.doctor.checks import EVERY
from workers.quarantine import WHY_NOT

ROOT = Path(__file__).parent.parent
PAGES = (
    *(ROOT / name for name in ("README.md", "README.tr.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
EXAMPLE = ROOT / "ulak.example.toml"
OURS = (*PAGES, EXAMPLE, ROOT / "deploy" / "nginx.conf")
ENVIRONMENT = (
    *("ULAK_CONFIG", "REDIS_URL", "ULAK_DATA", "WEB_CONCURRENCY", "PROMETHEUS_MULTIPROC_DIR", "ULAK_LOGLEVEL"),
)
# Folders that only this machine or this run has; /etc and /var in an example are everybody's.
MACHINE = re.compile(r"/(?:work|root|home|Users|opt|mnt)/|/tmp/[a-z]")

providers = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, title: str) -> str:
    """Return what stands under a heading, down to the next one of its rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return ""
    rank = len(found[1])
    return re.split(rf"^#{{1,{rank}}} ", found[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    lines = (line for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def settings_of(schema: Schema) -> Iterator[str]:
    """Yield each setting's name, those of nested tables too."""
    for name, found in schema.fields.items():
        yield name
        inner = found.inner if isinstance(found, fields.List) else found
        if isinstance(inner, fields.Nested):
            yield from settings_of(inner.schema)


def references(tree: Any) -> Iterator[str]:
    """Yield the name of every environment variable that a configuration refers to."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)
    elif isinstance(tree, str) and tree.startswith("env:"):
        yield tree.removeprefix("env:")


def with_secrets(path: Path) -> dict[str, str]:
    """Name *path* as the configuration, with a made-up value for each secret; `data_key` has a form of its own."""
    names = sorted(set(references(tomllib.loads(path.read_text("utf-8")))))
    made = {name: f"made-up-secret-number-{number}" for number, name in enumerate(names)}
    return {**made, "ULAK_DATA_KEY": "0f" * 32, "ULAK_CONFIG": str(path)}


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_explained_in_the_words_of_the_code(reason: Reason) -> None:
    text = REASONS[reason]

    found = [row for row in rows(section(page("docs/operations.md"), "Reasons")) if row[0] == f"`{reason.value}`"]

    assert [[f"`{reason.value}`", str(text.status), text.meaning, text.remedy]] == found


@pytest.mark.parametrize("trouble", list(Trouble))
def test_why_there_is_no_answer_is_explained_in_the_words_of_the_code(trouble: Trouble) -> None:
    found = [row for row in rows(section(page("docs/operations.md"), "Confirmation")) if row[0] == f"`{trouble}`"]

    assert [[f"`{trouble}`", *TROUBLES[trouble]]] == found


@pytest.mark.parametrize("what", list(What))
def test_what_differs_from_a_list_is_explained(what: What) -> None:
    assert f"| `{what}` |" in section(page("docs/operations.md"), "Reconciliation by a day's list")


@pytest.mark.parametrize("check", EVERY, ids=lambda check: check.word)
def test_what_the_doctor_finds_is_explained_in_the_words_of_the_code(check: Check[Any]) -> None:
    found = [row for row in rows(section(page("docs/operations.md"), "The doctor")) if row[0] == f"`{check.word}`"]

    assert [[f"`{check.word}`", check.severity, check.what, check.why, check.remedy]] == found


@pytest.mark.parametrize("word", WHY_NOT)
def test_why_a_callback_stays_in_quarantine_is_explained_in_the_words_of_the_code(word: str) -> None:
    found = [row for row in rows(section(page("docs/operations.md"), "Quarantine")) if row[0] == f"`{word}`"]

    assert [[f"`{word}`", *WHY_NOT[word]]] == found


@pytest.mark.parametrize("name", sorted({*settings_of(TopSchema())}))
def test_a_setting_of_the_top_level_is_documented(name: str) -> None:
    assert f"| `{name}` |" in section(page("docs/configuration.md"), "Top level")


@pytest.mark.parametrize("name", sorted({*settings_of(RouteSchema())}))
def test_a_setting_of_a_route_is_documented(name: str) -> None:
    assert f"| `{name}` |" in section(page("docs/configuration.md"), "Routes")


@providers
def test_every_setting_of_an_account_is_documented(provider: Provider) -> None:
    text = page("docs/configuration.md")
    general, own = section(text, "Accounts").partition("\n### ")[0], section(text, provider.name)
    api = next((row[1] for row in rows(section(text, "api")) if row[0] == f"`{provider.name}`"), "")
    shared = {row[0]: row[2] for row in rows(general) if len(row) == 4}

    for name in account_schema(provider).fields:
        everyones = f"| `{name}` |" in general and f"`{name}`" not in shared
        taken = f"`{provider.name}`" in shared.get(f"`{name}`", "")
        assert everyones or taken or f"| `{name}` |" in own, name
    for name in settings_of(provider.settings.account):
        assert f"`{name}`" in own + general, name
    for name in provider.settings.api.fields:
        assert f"`{name}`" in api, name


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_an_environment_variable_is_documented(name: str) -> None:
    assert f"| `{name}` |" in section(page("docs/configuration.md"), "Environment variables")


@pytest.mark.parametrize("readme", ["README.md", "README.tr.md"])
@providers
def test_every_channel_is_in_the_table_of_providers(provider: Provider, readme: str) -> None:
    found = {(row[0].split()[0], row[1]) for row in rows(page(readme)) if len(row) == 6}

    assert {(f"`{provider.name}`", f"`{channel}`") for channel in provider.channels} <= found


@pytest.mark.parametrize("language", ["Türkçe", "English"])
@providers
def test_a_provider_is_described_in_both_languages(provider: Provider, language: str) -> None:
    text = section(page("docs/providers.md"), f"{language}: {provider.name}")

    wanted = {"Türkçe": ("Ne kanıtlanır", "utar", "karşılaştırın"), "English": ("What is proven", "amount", "ompare")}
    assert [word for word in wanted[language] if word not in text] == []


@providers
def test_every_channel_has_its_address_in_the_providers_page(provider: Provider) -> None:
    text = section(page("docs/providers.md"), provider.name)

    for channel in provider.channels:
        assert f"/callbacks/{provider.name}/shop-tr/{channel}" in text, channel


@pytest.mark.parametrize(
    ("title", "word"),
    [
        *(("Kinds", kind.value) for kind in Kind),
        *(("Reasons", why.value) for why in Why),
        *(("Categories", category.value) for category in Category),
        *(("Trust", level.value) for level in Level),
        *(("Expected payments", verdict.value) for verdict in Verdict),
    ],
)
def test_a_word_of_the_event_is_explained(title: str, word: str) -> None:
    assert f"| `{word}` |" in section(page("docs/events.md"), title)


@providers
def test_what_makes_a_fact_is_documented(provider: Provider) -> None:
    assert f"| `{provider.name}`" in section(page("docs/events.md"), "The fact key")


def test_the_example_configuration_has_no_fault() -> None:
    settings = config.load(with_secrets(EXAMPLE))

    assert {provider.name for provider in PROVIDERS} == {provider for provider, _ in settings.accounts}
    assert [route.target.queue for route in settings.routes] == ["orders", "subscriptions"]


def test_the_optional_settings_of_the_example_have_no_fault_either(tmp_path: Path) -> None:
    """Lines such as ``# relay = false`` are taken in."""
    whole = re.sub(r"^# (?=[a-z_]+ = |\[accounts\.api\])", "", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE)
    path = tmp_path / "ulak.toml"
    path.write_text(whole, "utf-8")

    settings = config.load(with_secrets(path))

    assert settings.accounts["paratika", "shop-tr"].confirm == "never"
    assert settings.accounts["paynet", "shop-tr"].confirm == "unproven"


@pytest.mark.parametrize(
    "name",
    sorted(
        {*settings_of(TopSchema()), *settings_of(RouteSchema())}
        | {name for provider in PROVIDERS for name in settings_of(account_schema(provider))}
    ),
)
def test_a_setting_is_in_the_example_configuration(name: str) -> None:
    assert re.search(rf"\b{name}\b", EXAMPLE.read_text("utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_page_tells_to_type_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    # In a block of text a command follows a dollar sign, and the rest is its output; in other code any line is one.
    fences = re.findall(r"^`{3}(\w*)\n(.*?)^`{3}", text, re.DOTALL | re.MULTILINE)
    typed = [line for kind, block in fences for line in block.splitlines() if kind != "text" or line.startswith("$ ")]
    typed += re.findall(r"`([^`\n]+)`", re.sub(r"^`{3}.*?^`{3}", "", text, flags=re.DOTALL | re.MULTILINE))
    for line in typed:
        found = re.match(r"(?:\$ )?(?:\.venv/bin/)?ulak ([a-z]+)(?: ([a-z]+))?", line)
        if found:
            command = main.commands.get(found[1])
            assert command is not None, line
            if isinstance(command, click.Group) and found[2]:
                assert found[2] in command.commands, line


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_option_of_a_command_exists(path: Path) -> None:
    for line in path.read_text("utf-8").splitlines():
        found = re.search(r"(?<![\w./-])(?:\.venv/bin/)?ulak ([a-z]+)(?: (tail|show|retry))?\b([^`|;]*)", line)
        if found is None or found[1] not in main.commands:
            continue
        command = main.commands[found[1]]
        if isinstance(command, click.Group) and found[2]:
            command = command.commands[found[2]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {*re.findall(r"(?<=\s)--[a-z-]+", found[3])} <= known | {"--help"}, line


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_path_of_one_machine_is_in_the_documentation(path: Path) -> None:
    assert MACHINE.findall(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", path.read_text("utf-8")):
        if target and "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_link_to_a_heading_finds_it(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", path.read_text("utf-8")):
        text = (path.parent / target).read_text("utf-8") if target else path.read_text("utf-8")
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = set(re.findall(r"\((\d{4}-[a-z-]+\.md)\)", page("docs/adr/README.md")))

    assert {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")} == listed


@pytest.mark.parametrize("page", ["README.md", "README.tr.md"])
def test_the_tour_names_the_account_for_the_sandbox_has_two(page: str) -> None:
    commands = [
        line for line in (ROOT / page).read_text("utf-8").splitlines() if line.startswith("$ .venv/bin/ulak simulate")
    ]

    assert commands
    assert [command for command in commands if "--account shop-tr" not in command] == []


@pytest.mark.parametrize("word", [*Done, "acts", "lost_lease", "no_answer", "failed"])
def test_a_word_of_the_keeper_is_explained(word: str) -> None:
    assert f"`{word}`" in section(page("docs/operations.md"), "The keeper")
