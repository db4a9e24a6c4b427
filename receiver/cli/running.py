"""Starting processes: workers for production, everything for development."""

import os
import sys

import click

from receiver.cli.terminal import load_settings, print_faults


@click.command()
@click.option("--queue", "queues", multiple=True, help="May be repeated; without it, every queue of the configuration.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1), help="Workers for each queue.")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
def worker(queues: tuple[str, ...], processes: int, burst: bool) -> None:
    """Start RQ workers the safe way: one queue a process, JSON, with the scheduler that retries need, and a keeper."""
    from receiver.sink import JOB_TIMEOUT
    from workers.supervisor import Supervisor
    from workers.up import keeper_child, worker_child

    settings = load_settings()
    named = queues or settings.queues
    supervisor = Supervisor()
    env = {**os.environ, "REDIS_URL": settings.redis_url}
    for queue in named:
        for number in range(processes):
            supervisor.start(worker_child(queue, number, env, log=None, burst=burst))
    if not burst:
        supervisor.start(keeper_child(env, log=None))
    # RQ finishes the job in hand; a second Ctrl-C, or SIGTERM, ends it at once.
    supervisor.watch(patience=JOB_TIMEOUT + 10.0)
    if burst and not supervisor.stopping:
        supervisor.tick()  # take the exit codes of those that ended last
        sys.exit(1 if any(child.ended for child in supervisor.children) else 0)


@click.command()
def keeper() -> None:
    """Bring back what a crash left behind, trim the streams, watch the memory. `ulak worker` runs a keeper too."""
    from workers import keeper as keeping

    load_settings()  # tell faults as every command does
    keeping.main()


@click.command()
@click.option("--bind", default="", help="Where to listen, HOST:PORT; without it 127.0.0.1:8000, or a free port.")
@click.option("--demo", is_flag=True, help="Send sandbox callbacks of every provider and show the events arriving.")
def up(bind: str, demo: bool) -> None:
    """Start everything for development: Redis, gunicorn, workers. Ctrl-C stops all of it."""
    from workers.up import System, UpError

    try:
        System(bind, demo=demo, say=click.echo).run()
    except UpError as exc:
        print_faults(exc.args)
        sys.exit(1)
