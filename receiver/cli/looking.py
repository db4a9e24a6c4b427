"""Looking at what was received: as it came, one event whole, and beside the provider's own list."""

import sys
from datetime import UTC, datetime
from typing import Any

import click

from receiver.cli.terminal import as_json, load_settings, print_json, redis_at, wrong_usage


@click.group()
def events() -> None:
    """Look at what was received."""


@events.command()
@click.option("--last", "count", default=20, show_default=True, type=click.IntRange(0), help="How many of the past.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--held", "stream", flag_value="held", help="Facts that wait for confirmation.")
@click.option("--quarantine", "stream", flag_value="quarantine", help="Authentic callbacks that could not be read.")
@click.option("--refused", "stream", flag_value="refused", help="Callbacks that were not accepted.")
@as_json
def tail(count: int, follow: bool, stream: str | None, machine: bool) -> None:
    """Show the newest events, or another stream."""
    from receiver import tables
    from workers import quarantine, streams

    key = streams.STREAMS[stream or "events"]

    def show(one: streams.Record) -> None:
        fields = one.fields
        if stream == "quarantine":
            fields = {"state": quarantine.states(client, [one])[0], **fields}
        if machine:
            print_json(one.event or {"entry": one.entry, **fields})
        else:
            words = (f"{name}={value}" for name, value in fields.items())
            click.echo(tables.event_line(one.event) if one.event else f"{one.entry}  {'  '.join(words)}")

    with redis_at(load_settings().redis_url) as client:
        past = streams.last(client, key, count) if count else []
        if not machine and (stream or "events") in {"events", "held"}:
            click.echo(tables.event_heading())
        for one in past:
            show(one)
        if follow:
            try:
                for one in streams.follow(client, key, past[-1].entry if past else "$"):
                    show(one)
            except KeyboardInterrupt:
                return


@events.command("show")
@click.argument("event_id")
@click.option("--request", "exact", is_flag=True, help="Also the exact bytes received (may hold personal data).")
def show_event(event_id: str, exact: bool) -> None:
    """Print one event whole; EVENT_ID may be cut to its first characters."""
    import orjson

    from receiver.seal import Sealed, Sealer
    from workers import streams

    settings = load_settings()
    with redis_at(settings.redis_url) as client:
        found = streams.find(client, event_id)
    if found is None:
        click.echo(f"ulak: no event, held fact or quarantined callback begins with {event_id}", err=True)
        sys.exit(1)
    click.echo(orjson.dumps(found.event or found.fields, option=orjson.OPT_INDENT_2).decode())
    if exact:
        try:
            opened = Sealer(settings.data_keys).open(found.request, found.belongs_to)
        except Sealed as exc:
            click.echo(f"ulak: {exc}", err=True)
            sys.exit(1)
        click.echo(b"%s %s\n?%s\n%s" % (opened.method.encode(), opened.media.encode(), opened.query, opened.body))


@click.command()
@click.option("--provider", required=True, help="Who is asked for its list.")
@click.option("--account", "slug", required=True, help="The account's slug.")
@click.option("--since", required=True, metavar="TIME", help="A Turkish day such as 2026-11-22, or ISO with an offset.")
@click.option("--until", metavar="TIME", help="A day is meant whole. Without it: the day of --since, or up to now.")
@click.option("--accept", "accepting", is_flag=True, help="Put in what is missing, as confirmed events.")
@as_json
def reconcile(provider: str, slug: str, machine: bool, accepting: bool, **times: Any) -> None:
    """Compare the provider's own list of a time with what was received; end with 1 where something differs."""
    from receiver import tables
    from receiver.asking import TROUBLES, QueryError
    from workers import listing

    settings = load_settings()
    with wrong_usage():
        account = listing.askable(settings, provider, slug)
        span = listing.span(times["since"], times["until"], datetime.now(UTC), settings.dedupe_days)
    with redis_at(settings.redis_url) as client:
        try:
            report = listing.reconcile(listing.desk_of(settings, client), account, span, accept=accepting)
        except QueryError as exc:
            meaning, remedy = TROUBLES[exc.trouble]
            click.echo(f"ulak: {exc.trouble}: {meaning}. What to do: {remedy}", err=True)
            sys.exit(1)
    if machine:
        print_json(report.to_wire())
    else:
        for line in tables.comparison_lines(report.to_wire()):
            click.echo(line)
    if report.refused:
        click.echo(f"ulak: not all could be put in: {report.refused}; `ulak explain {report.refused}`", err=True)
    sys.exit(1 if report.differs else 0)
