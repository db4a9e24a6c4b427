"""Setting up: is the configuration right, what can be received, and at which address."""

import sys

import click

from receiver.cli.terminal import as_json, load_settings, print_faults, print_json, wrong_usage


@click.command()
@as_json
def check(machine: bool) -> None:
    """Read the configuration and tell every fault at once."""
    from receiver import config
    from receiver.errors import ConfigError

    faults: tuple[str, ...] = ()
    found = ""
    try:
        settings = config.load()
        found = f"{len(settings.accounts)} account(s), {len(settings.routes)} route(s), no fault"
    except ConfigError as exc:
        faults = exc.faults
    if machine:
        print_json({"ok": not faults, "faults": faults})
    else:
        print_faults(faults)
        click.echo(found or f"{len(faults)} fault(s); mend them and run `ulak check` again", err=bool(faults))
    sys.exit(1 if faults else 0)


@click.command()
@as_json
def providers(machine: bool) -> None:
    """List providers, their channels, what each proves, and the scenarios of `ulak simulate`."""
    from receiver import tables
    from receiver.ports import Token
    from receiver.providers import PROVIDERS

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
        names = ("provider", "address", "methods", "media", "scenarios")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    for line in tables.lines(("PROVIDER", "ADDRESS", "METHODS", "MEDIA TYPE OF A POST"), [row[:4] for row in rows]):
        click.echo(line)
    click.echo("\nSCENARIOS (ulak simulate PROVIDER SCENARIO)")
    for provider in PROVIDERS:
        click.echo(f"  {provider.name}: {', '.join(provider.scenarios)}")


@click.command()
@click.argument("provider")
@click.argument("channel")
@click.option("--account", "slug", help="The account's slug; may be left out where the provider has one account.")
@click.option("--order", help="With a token for this order alone, where the channel has a browser_token.")
def url(provider: str, channel: str, slug: str | None, order: str | None) -> None:
    """Print the path of CHANNEL's callbacks, with its token, which is secret: for PROVIDER and nobody else."""
    from receiver import sending

    with wrong_usage():
        click.echo(sending.callback_path(load_settings(), provider, channel, slug, order))
