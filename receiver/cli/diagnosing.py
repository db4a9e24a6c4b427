"""What is wrong with the running system, and what can be tried again once it is mended."""

import os
import sys
from collections import Counter
from typing import Any

import click

from receiver.cli.terminal import as_json, load_settings, print_json, redis_at


@click.command()
@as_json
def doctor(machine: bool) -> None:
    """Look at the running system and say what is wrong, why it matters and what mends it; end with 1 on a fault."""
    from workers.doctor.gathering import diagnose

    report = diagnose(os.environ)
    if machine:
        print_json(report.to_wire())
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(1 if report.faulty else 0)


@click.group()
def quarantine() -> None:
    """Authentic callbacks that could not be read; `ulak events tail --quarantine` shows them."""


@quarantine.command()
@click.option("--provider", help="Only callbacks of this provider.")
@click.option("--account", help="Only those of accounts with this slug.")
@click.option("--reason", help="Only those that are there for this reason.")
@click.option("--id", "digest", help="Only the one with this digest, which may be cut short.")
@click.option("--dry-run", "dry", is_flag=True, help="Say what would become of each, and change nothing.")
@click.option("--old", is_flag=True, help="Also those that are older than dedupe_days.")
@as_json
def retry(machine: bool, dry: bool, old: bool, **chosen: Any) -> None:
    """Try quarantined callbacks again with today's code; end with 1 where one stays in quarantine."""
    from receiver.errors import REASONS, Unavailable
    from receiver.sink import RedisSink
    from workers.quarantine import STAYS, Choice, Retrial, Tried

    settings = load_settings()
    found: list[Tried] = []
    refused: Unavailable | None = None
    with redis_at(settings.redis_url) as client:
        sink = RedisSink.of(settings)
        try:
            for one in Retrial(settings, client, sink, dry=dry, old=old).run(Choice(**chosen)):
                found.append(one)
                if not machine:
                    click.echo(one.line())
        except Unavailable as exc:
            refused = exc
    counts = Counter(one.outcome for one in found)
    if machine:
        wire = {"dry": dry, "refused": refused and refused.reason, "entries": [one.to_wire() for one in found]}
        print_json({"tried": len(found), "counts": counts, **wire})
    else:
        said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        click.echo(f"{len(found)} tried{': ' if said else ''}{said}{' (nothing was changed)' if dry else ''}")
    if refused:
        click.echo(f"ulak: {refused.reason}: {REASONS[refused.reason].meaning}", err=True)
    sys.exit(1 if refused or counts[STAYS] else 0)
