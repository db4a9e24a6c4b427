"""
``ulak``: the command line; one module for each thing a person wants of it.

What a command needs is imported when it runs, so that ``--help`` is quick.
"""

import click

from receiver.cli.configuring import check, providers, url
from receiver.cli.diagnosing import doctor, quarantine
from receiver.cli.explaining import explain
from receiver.cli.feeding import announce, simulate
from receiver.cli.looking import events, reconcile
from receiver.cli.running import keeper, up, worker
from receiver.cli.spooling import drain

COMMANDS = (
    *(check, providers, url, explain, simulate, announce, events, reconcile, doctor, quarantine),
    *(worker, keeper, drain, up),
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ulak")
def main() -> None:
    """Payment callbacks in, one normalized event stream out."""
