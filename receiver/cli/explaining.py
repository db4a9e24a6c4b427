"""What a word means that somebody read in an answer, a log line or a metric, and what a provider's code means."""

import sys
from typing import Any

import click

from receiver.cli.terminal import as_json, load_settings, print_json, redis_at


@click.command()
@click.argument("word", required=False)
@click.option("--provider", help="WORD is a code of this provider; its text is the provider's own.")
@click.option("--account", "slug", help="Whose list of codes; without it, that of any account of the provider.")
@as_json
def explain(word: str | None, provider: str | None, slug: str | None, machine: bool) -> None:
    """Say what a reason WORD of an answer, a log line or a metric means, and what to do; all of them without WORD."""
    if provider is not None or slug is not None:
        _explain_code(word or "", provider or "", slug, machine=machine)
        return
    groups = _groups()
    known = {name: told for words in groups.values() for name, told in words.items()}
    if word is not None and word not in known:
        raise click.UsageError(f"no reason is called {word!r}; `ulak explain` lists them all")
    if machine:
        print_json(known if word is None else {word: known[word]})
    elif word is not None:
        _print(word, known[word])
    else:
        for number, (heading, words) in enumerate(groups.items()):
            click.echo(f"\n{heading}" if number else heading)
            for name, told in words.items():
                _print(name, told)


def _groups() -> dict[str, dict[str, dict[str, Any]]]:
    """Return what is told of each word, under the heading of its kind; an answer over HTTP has only the first kind."""
    from receiver.asking import TROUBLES
    from receiver.errors import REASONS
    from workers.doctor.checks import EVERY
    from workers.quarantine import WHY_NOT

    return {
        "REASONS (why a callback was not accepted)": {
            reason.value: {"status": text.status, "meaning": text.meaning, "remedy": text.remedy}
            for reason, text in REASONS.items()
        },
        "NO ANSWER (why a provider's API gave none that can be used)": {
            trouble.value: {"status": None, "meaning": meaning, "remedy": remedy}
            for trouble, (meaning, remedy) in TROUBLES.items()
        },
        "STAYS (why `ulak quarantine retry` leaves a callback where it is, beside the reasons)": {
            word: {"status": None, "meaning": meaning, "remedy": remedy} for word, (meaning, remedy) in WHY_NOT.items()
        },
        "FINDINGS (what `ulak doctor` finds)": {
            check.word: {"status": None, "meaning": f"{check.what} {check.why}", "remedy": check.remedy}
            for check in EVERY
        },
    }


def _print(word: str, told: dict[str, Any]) -> None:
    status = f" ({told['status']})" if told["status"] else ""
    click.echo(f"{word}{status}\n  {told['meaning']}\n  {told['remedy']}")


def _explain_code(code: str, provider: str, slug: str | None, *, machine: bool) -> None:
    """Tell the text of a provider's code, and how good the list is that has it; end with 1 where none has."""
    from receiver.queries import CODES
    from workers import codes

    if not code or provider not in CODES:
        raise click.UsageError(f"give a code, and --provider with one that lists its codes: {', '.join(CODES)}")
    settings = load_settings()
    asked = [one.slug for one in settings.accounts.values() if one.provider == provider and one.api]
    slugs = [one for one in asked if slug in {None, one}]
    if not slugs:
        raise click.UsageError(f"accounts of {provider} with [accounts.api]: {', '.join(asked) or 'none'}")
    with redis_at(settings.redis_url) as client:
        found = codes.explain(client, provider, slugs, code)
    if machine:
        print_json(found.to_wire())
    else:
        for line in found.lines():
            click.echo(line, err=found.text is None)
    sys.exit(0 if found.text else 1)
