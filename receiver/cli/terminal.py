"""What commands share: how configuration, Redis and wrong usage come to the terminal, and JSON for machines."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from receiver.config import Settings
    from workers import streams

as_json = click.option("--json", "machine", is_flag=True, help="One JSON value a line.")


def load_settings() -> "Settings":
    """Load the configuration, or tell every fault and end with 1."""
    from receiver import config
    from receiver.errors import ConfigError

    try:
        return config.load()
    except ConfigError as exc:
        print_faults(exc.faults)
        sys.exit(1)


@contextmanager
def redis_at(url: str) -> Iterator["streams.Client"]:
    """Give a client; a Redis that does not answer ends the command with 1 and a sentence."""
    from workers import streams

    try:
        with streams.opened(url) as client:
            yield client
    except streams.NoAnswerError as exc:
        click.echo(f"ulak: Redis does not answer ({exc}); check REDIS_URL and the server", err=True)
        sys.exit(1)


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Tell a LookupError or ValueError about what was typed as click tells its own faults: the command ends with 2."""
    try:
        yield
    except (LookupError, ValueError) as exc:
        raise click.UsageError(str(exc.args[0])) from None


def print_faults(faults: tuple[str, ...]) -> None:
    for fault in faults:
        click.echo(f"ulak: {fault}", err=True)


def print_json(value: object) -> None:
    import orjson

    click.echo(orjson.dumps(value).decode())
