"""``ulak``: the command line. What a command needs is imported when it runs, so that ``--help`` is quick."""

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from receiver.config import Settings
    from workers import streams


_LINES = 20  # more answers than this are a progress bar on a terminal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ulak")
def main() -> None:
    """Payment callbacks in, one normalized event stream out."""


def _settings() -> "Settings":
    """Load the configuration, or tell every fault and end with 1."""
    from receiver import config  # noqa: PLC0415
    from receiver.errors import ConfigError  # noqa: PLC0415

    try:
        return config.load()
    except ConfigError as exc:
        for fault in exc.faults:
            click.echo(f"ulak: {fault}", err=True)
        sys.exit(1)


@contextmanager
def _redis(url: str) -> Iterator["streams.Client"]:
    """Give a client; a Redis that does not answer ends the command with 1 and a sentence."""
    from workers import streams  # noqa: PLC0415

    try:
        with streams.opened(url) as client:
            yield client
    except streams.NoAnswerError as exc:
        click.echo(f"ulak: Redis does not answer ({exc}); check REDIS_URL and the server", err=True)
        sys.exit(1)


def _json(value: object) -> None:
    import orjson  # noqa: PLC0415

    click.echo(orjson.dumps(value).decode())


as_json = click.option("--json", "machine", is_flag=True, help="One JSON value a line.")


@main.command()
@as_json
def check(machine: bool) -> None:  # noqa: FBT001 - a flag of click
    """Read the configuration and tell every fault at once."""
    from receiver import config  # noqa: PLC0415
    from receiver.errors import ConfigError  # noqa: PLC0415

    faults: tuple[str, ...] = ()
    found = ""
    try:
        settings = config.load()
        found = f"{len(settings.accounts)} account(s), {len(settings.routes)} route(s), no fault"
    except ConfigError as exc:
        faults = exc.faults
    if machine:
        _json({"ok": not faults, "faults": faults})
    else:
        for fault in faults:
            click.echo(f"ulak: {fault}", err=True)
        click.echo(found or f"{len(faults)} fault(s); mend them and run `ulak check` again", err=bool(faults))
    sys.exit(1 if faults else 0)


@main.command()
@as_json
def providers(machine: bool) -> None:  # noqa: FBT001 - a flag of click
    """List providers, their channels, what each proves, and the scenarios of `ulak simulate`."""
    from receiver import tables  # noqa: PLC0415
    from receiver.ports import Token  # noqa: PLC0415
    from receiver.providers import PROVIDERS  # noqa: PLC0415

    rows = []
    for provider in PROVIDERS:
        for channel in provider.channels.values():
            scenarios = [name for name, scenario in provider.scenarios.items() if scenario.channel == channel.name]
            token = "" if channel.token is Token.NONE else f"/<{channel.token.value}>"
            if channel.token is Token.OPTIONAL:
                token = "[/<token>]"  # noqa: S105 - a placeholder
            address = f"/callbacks/{provider.name}/<slug>/{channel.name}{token}"
            media = ", ".join(kind.value for kind in channel.media)
            rows.append((provider.title, address, " ".join(channel.methods), media, " ".join(scenarios)))
    if machine:
        _json([dict(zip(("provider", "address", "methods", "media", "scenarios"), row, strict=True)) for row in rows])
        return
    for line in tables.lines(("PROVIDER", "ADDRESS", "METHODS", "MEDIA TYPE OF A POST"), [row[:4] for row in rows]):
        click.echo(line)
    click.echo("\nSCENARIOS (ulak simulate PROVIDER SCENARIO)")
    for provider in PROVIDERS:
        click.echo(f"  {provider.name}: {', '.join(provider.scenarios)}")


@main.command()
@click.argument("word", required=False)
@click.option("--provider", help="WORD is a code of this provider; its text is the provider's own.")
@click.option("--account", "slug", help="Whose list of codes; without it, that of any account of the provider.")
@as_json
def explain(word: str | None, provider: str | None, slug: str | None, machine: bool) -> None:  # noqa: FBT001 - a flag
    """Say what a reason WORD of an answer, a log line or a metric means, and what to do; all of them without WORD."""
    if provider is not None or slug is not None:
        _explain_code(word or "", provider or "", slug, machine=machine)
        return
    from receiver.errors import REASONS  # noqa: PLC0415

    found = {reason.value: text for reason, text in REASONS.items() if word in {None, reason.value}}
    if not found:
        raise click.UsageError(f"no reason is called {word!r}; `ulak explain` lists them all")
    if machine:
        _json(
            {name: {"status": one.status, "meaning": one.meaning, "remedy": one.remedy} for name, one in found.items()}
        )
        return
    for name, text in found.items():
        click.echo(f"{name} ({text.status})\n  {text.meaning}\n  {text.remedy}")


def _explain_code(code: str, provider: str, slug: str | None, *, machine: bool) -> None:
    """Tell the text of a provider's code, and how good the list is that has it; end with 1 where none has."""
    from receiver.queries import CODES  # noqa: PLC0415
    from workers import codes  # noqa: PLC0415

    if not code or provider not in CODES:
        raise click.UsageError(f"give a code, and --provider with one that lists its codes: {', '.join(CODES)}")
    settings = _settings()
    asked = [one.slug for one in settings.accounts.values() if one.provider == provider and one.api]
    slugs = [one for one in asked if slug in {None, one}]
    if not slugs:
        raise click.UsageError(f"accounts of {provider} with [accounts.api]: {', '.join(asked) or 'none'}")
    with _redis(settings.redis_url) as client:
        found = codes.explain(client, provider, slugs, code)
    if machine:
        _json(found.to_wire())
    else:
        for line in found.lines():
            click.echo(line, err=found.text is None)
    sys.exit(0 if found.text else 1)


@main.command()
@click.argument("provider")
@click.argument("scenario")
@click.option("--to", "base", default="http://127.0.0.1:8000", show_default=True, help="Where the receiver listens.")
@click.option("--account", "slug", help="The account's slug; may be left out where the provider has one account.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Before signing; may be repeated.")
@click.option("--count", default=1, show_default=True, type=click.IntRange(1), help="How many different callbacks.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second.")
@click.option("--duplicate", default=0, type=click.IntRange(0), help="Send each one so many times more.")
@click.option("--tamper", metavar="FIELD", help="Change this field after signing.")
@click.option("--print", "printing", is_flag=True, help="Print curl commands (with secrets' tokens) and send nothing.")
@as_json
def simulate(provider: str, scenario: str, **options: Any) -> None:
    """Send what PROVIDER would send in SCENARIO, signed with the account's secret."""
    from receiver.sending import Sending  # noqa: PLC0415

    try:
        sending = Sending.plan(_settings(), provider, scenario, options)
    except LookupError as exc:
        raise click.UsageError(str(exc.args[0])) from None
    if options["printing"]:
        for command in sending.curls():
            click.echo(command)
        return
    statuses: Counter[int] = Counter()
    # Many callbacks are a bar on a terminal; in a pipe they are lines like the few.
    bar = sending.total > _LINES and sys.stdout.isatty() and not options["machine"]
    with click.progressbar(sending.run(), length=sending.total, file=None if bar else io.StringIO()) as answers:
        try:
            for answer in answers:
                statuses[answer["status"]] += 1
                if options["machine"]:
                    _json(answer)
                elif not bar:
                    click.echo("{status}  {provider} {scenario}  {order}  {answer}".format(**answer))
        except OSError as exc:
            click.echo(f"ulak: nobody answers at {options['base']} ({exc}); start `ulak up` or name --to", err=True)
            sys.exit(1)
    if sending.total > 1 and not options["machine"]:
        click.echo(", ".join(f"{count} answered {status}" for status, count in sorted(statuses.items())))
    sys.exit(1 if any(status >= 500 for status in statuses) else 0)


@main.command()
@click.argument("provider")
@click.argument("channel")
@click.option("--account", "slug", help="The account's slug; may be left out where the provider has one account.")
@click.option("--order", help="With a token for this order alone, where the channel has a browser_token.")
def url(provider: str, channel: str, slug: str | None, order: str | None) -> None:
    """Print the path of CHANNEL's callbacks, with its token, which is secret: for PROVIDER and nobody else."""
    from receiver import sending  # noqa: PLC0415

    try:
        click.echo(sending.callback_path(_settings(), provider, channel, slug, order))
    except (LookupError, ValueError) as exc:
        raise click.UsageError(str(exc.args[0])) from None


@main.command("expect")
@click.argument("provider")
@click.argument("order")
@click.argument("amount")
@click.argument("currency")
@click.option("--account", "slug", help="The account's slug; may be left out where the provider has one account.")
@click.option("--deadline", metavar="ISO", help="Until when it should be paid, with offset; default: in a day.")
@as_json
def announce(provider: str, order: str, amount: str, currency: str, **options: Any) -> None:
    """Announce that AMOUNT (such as 11.76) is to be paid for ORDER, so that its events say what came against that."""
    from receiver import sending  # noqa: PLC0415
    from receiver.errors import REASONS, Rejected, Unavailable  # noqa: PLC0415
    from workers.expect import expect  # noqa: PLC0415

    try:
        slug = sending.account_of(_settings(), provider, options["slug"]).slug
        word = expect(provider, slug, order, amount, currency, options["deadline"])
    except (LookupError, ValueError) as exc:
        raise click.UsageError(str(exc.args[0])) from None
    except (Rejected, Unavailable) as exc:
        if options["machine"]:
            _json({"ok": False, "error": exc.reason})
        click.echo(f"ulak: {exc.reason}: {REASONS[exc.reason].meaning}", err=True)
        sys.exit(1)
    if options["machine"]:
        _json({"ok": True, "announced": word})
    else:
        click.echo(f"{word}  {provider}/{slug}  {order}  {amount} {currency}")


@main.group()
def events() -> None:
    """Look at what was received."""


@events.command()
@click.option("--last", "count", default=20, show_default=True, type=click.IntRange(0), help="How many of the past.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--held", "stream", flag_value="held", help="Facts that wait for confirmation.")
@click.option("--quarantine", "stream", flag_value="quarantine", help="Authentic callbacks that could not be read.")
@click.option("--refused", "stream", flag_value="refused", help="Callbacks that were not accepted.")
@as_json
def tail(count: int, follow: bool, stream: str | None, machine: bool) -> None:  # noqa: FBT001 - flags of click
    """Show the newest events, or another stream."""
    from receiver import tables  # noqa: PLC0415
    from workers import streams  # noqa: PLC0415

    key = streams.STREAMS[stream or "events"]

    def show(one: streams.Record) -> None:
        if machine:
            _json(one.event or {"entry": one.entry, **one.fields})
        else:
            words = (f"{name}={value}" for name, value in one.fields.items())
            click.echo(tables.event_line(one.event) if one.event else f"{one.entry}  {'  '.join(words)}")

    with _redis(_settings().redis_url) as client:
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
def show_event(event_id: str, exact: bool) -> None:  # noqa: FBT001 - a flag of click
    """Print one event whole; EVENT_ID may be cut to its first characters."""
    import orjson  # noqa: PLC0415

    from receiver.seal import Sealed, Sealer  # noqa: PLC0415
    from workers import streams  # noqa: PLC0415

    settings = _settings()
    with _redis(settings.redis_url) as client:
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


@main.command()
@click.option("--provider", required=True, help="Who is asked for its list.")
@click.option("--account", "slug", required=True, help="The account's slug.")
@click.option("--since", required=True, metavar="TIME", help="A Turkish day such as 2026-11-22, or ISO with an offset.")
@click.option("--until", metavar="TIME", help="A day is meant whole. Without it: the day of --since, or up to now.")
@click.option("--accept", "accepting", is_flag=True, help="Put in what is missing, as confirmed events.")
@as_json
def reconcile(provider: str, slug: str, machine: bool, accepting: bool, **times: Any) -> None:  # noqa: FBT001 - flags
    """Compare the provider's own list of a time with what was received; end with 1 where something differs."""
    from receiver import tables  # noqa: PLC0415
    from receiver.asking import TROUBLES, QueryError  # noqa: PLC0415
    from workers import listing  # noqa: PLC0415

    settings = _settings()
    try:
        account = listing.askable(settings, provider, slug)
        span = listing.span(times["since"], times["until"], datetime.now(UTC), settings.dedupe_days)
    except (LookupError, ValueError) as exc:
        raise click.UsageError(str(exc.args[0])) from None
    with _redis(settings.redis_url) as client:
        try:
            report = listing.reconcile(listing.desk_of(settings, client), account, span, accept=accepting)
        except QueryError as exc:
            meaning, remedy = TROUBLES[exc.trouble]
            click.echo(f"ulak: {exc.trouble}: {meaning}. What to do: {remedy}", err=True)
            sys.exit(1)
    if machine:
        _json(report.to_wire())
    else:
        for line in tables.comparison_lines(report.to_wire()):
            click.echo(line)
    if report.refused:
        click.echo(f"ulak: not all could be put in: {report.refused}; `ulak explain {report.refused}`", err=True)
    sys.exit(1 if report.differs else 0)


@main.command()
@click.option("--queue", "queues", multiple=True, help="May be repeated; without it, every queue of the configuration.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1), help="Workers for each queue.")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
def worker(queues: tuple[str, ...], processes: int, burst: bool) -> None:  # noqa: FBT001 - a flag of click
    """Start RQ workers the safe way: one queue a process, JSON, with the scheduler that retries need."""
    from receiver.sink import JOB_TIMEOUT  # noqa: PLC0415
    from workers.supervisor import Supervisor  # noqa: PLC0415
    from workers.up import worker_child  # noqa: PLC0415

    settings = _settings()
    named = queues or settings.queues
    supervisor = Supervisor()
    env = {**os.environ, "REDIS_URL": settings.redis_url}
    for queue in named:
        for number in range(processes):
            supervisor.start(worker_child(queue, number, env, log=None, burst=burst))
    # RQ finishes the job in hand; a second Ctrl-C, or SIGTERM, ends it at once.
    supervisor.watch(patience=JOB_TIMEOUT + 10.0)
    if burst and not supervisor.stopping:
        supervisor.tick()  # take the exit codes of those that ended last
        sys.exit(1 if any(child.ended for child in supervisor.children) else 0)


@main.command()
@click.option("--bind", default="", help="Where to listen, HOST:PORT; without it 127.0.0.1:8000, or a free port.")
@click.option("--demo", is_flag=True, help="Send sandbox callbacks of every provider and show the events arriving.")
def up(bind: str, demo: bool) -> None:  # noqa: FBT001 - a flag of click
    """Start everything for development: Redis, gunicorn, workers. Ctrl-C stops all of it."""
    from workers.up import System, UpError  # noqa: PLC0415

    try:
        System(bind, demo=demo, say=click.echo).run()
    except UpError as exc:
        for fault in exc.args:
            click.echo(f"ulak: {fault}", err=True)
        sys.exit(1)
