"""What goes in by hand: callbacks as a provider would send them, announcements as a shop would make them."""

import io
import sys
from collections import Counter
from typing import Any

import click

from receiver.cli.terminal import as_json, load_settings, print_json, wrong_usage

_LINES = 20  # more answers than this are a progress bar on a terminal


@click.command()
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
    from receiver.sending import Sending

    with wrong_usage():
        sending = Sending.plan(load_settings(), provider, scenario, options)
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
                    print_json(answer)
                elif not bar:
                    click.echo("{status}  {provider} {scenario}  {order}  {answer}".format(**answer))
        except OSError as exc:
            click.echo(f"ulak: nobody answers at {options['base']} ({exc}); start `ulak up` or name --to", err=True)
            sys.exit(1)
    if sending.total > 1 and not options["machine"]:
        click.echo(", ".join(f"{count} answered {status}" for status, count in sorted(statuses.items())))
    sys.exit(1 if any(status >= 500 for status in statuses) else 0)


@click.command("expect")
@click.argument("provider")
@click.argument("order")
@click.argument("amount")
@click.argument("currency")
@click.option("--account", "slug", help="The account's slug; may be left out where the provider has one account.")
@click.option("--deadline", metavar="ISO", help="Until when it should be paid, with offset; default: in a day.")
@as_json
def announce(provider: str, order: str, amount: str, currency: str, **options: Any) -> None:
    """Announce that AMOUNT (such as 11.76) is to be paid for ORDER, so that its events say what came against that."""
    from receiver import sending
    from receiver.errors import REASONS, Rejected, Unavailable
    from workers.expect import expect

    try:
        with wrong_usage():
            slug = sending.account_of(load_settings(), provider, options["slug"]).slug
            word = expect(provider, slug, order, amount, currency, options["deadline"])
    except (Rejected, Unavailable) as exc:
        if options["machine"]:
            print_json({"ok": False, "error": exc.reason})
        click.echo(f"ulak: {exc.reason}: {REASONS[exc.reason].meaning}", err=True)
        sys.exit(1)
    if options["machine"]:
        print_json({"ok": True, "announced": word})
    else:
        click.echo(f"{word}  {provider}/{slug}  {order}  {amount} {currency}")
