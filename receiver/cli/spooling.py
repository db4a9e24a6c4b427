"""What lies in the spool, brought to Redis by a person: what the receiver leaves to one, and a dead host's file."""

import sys
from pathlib import Path

import click

from receiver.cli.terminal import as_json, load_settings, print_json

_PATIENCE = 30.0  # seconds; a receiver that drains lets others have their turn every second
_SHOWN = 20


@click.command()
@click.option("--old", is_flag=True, help="Also rows older than dedupe_days; what came in another way comes twice.")
@click.option("--parked", is_flag=True, help="Also rows that Redis refused for their own sake, once that is mended.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The ULAK_DATA of a host that died, brought here; its receiver must not run.",
)
@as_json
def drain(old: bool, parked: bool, folder: Path | None, machine: bool) -> None:
    """Bring what is in the spool to Redis, which receivers do by themselves; end with 1 where something stays."""
    from receiver.draining import Drained, Drainer
    from receiver.errors import REASONS, Reason, Unavailable
    from receiver.placing import Placing
    from receiver.providers import BY_NAME
    from receiver.rows import SpoolFile
    from receiver.sink import RedisSink
    from receiver.turn import NoTurn

    settings = load_settings()
    file = SpoolFile(folder or settings.data, settings.spool_max)
    if folder and not file.path.exists():
        raise click.UsageError(f"there is no {file.path.name} in {folder}")
    placing = Placing(settings.routes, settings.reconcile_after[0])
    drainer = Drainer(file, RedisSink.of(settings), placing, BY_NAME, settings.dedupe_days)
    done, trouble = Drained(), ""
    try:
        if file.path.exists():
            with drainer.turn(_PATIENCE).taken():
                if parked:
                    file.unpark()
                drainer.begin(old=old)
                drainer.run(done)
    except NoTurn:
        trouble = Reason.SPOOL_BUSY
    except Unavailable as exc:
        trouble = exc.reason
    state = drainer.state()
    left = {"waiting": state.waiting, "old": state.old, "parked": state.parked}
    if machine:
        print_json({"new": done.new, "known": done.known, "left": left, "trouble": trouble or None})
    else:
        click.echo(f"{done.gone} drained ({done.new} new, {done.known} known already)")
        click.echo("left: " + ", ".join(f"{count} {name}" for name, count in left.items()))
        for name, reason in file.parked(_SHOWN):
            click.echo(f"parked  {name}  {reason}")
    if trouble:
        text = REASONS[Reason(trouble)]
        click.echo(f"ulak: {trouble}: {text.meaning} {text.remedy}", err=True)
    sys.exit(1 if trouble or any(left.values()) else 0)
