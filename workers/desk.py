"""What the jobs that ask the providers work with: configuration, store and questions, built once a worker process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import redis
from rq import get_current_job

from receiver import config
from receiver.account import Account
from receiver.event import Event
from receiver.placing import Placing, Sealed
from receiver.ports import Receipt
from receiver.providers import BY_NAME
from receiver.sink import RedisSink
from workers.questions import Questions


@dataclass(frozen=True, slots=True)
class Desk:
    """Asks, and puts in what was learned. A change of the configuration needs a new worker, as a new receiver."""

    settings: config.Settings
    sink: RedisSink
    placing: Placing
    client: redis.Redis
    questions: Questions
    job: str = ""  # the id of the job at work

    def account(self, provider: str, slug: str) -> Account | None:
        """Return the account if it can be asked."""
        found = self.settings.accounts.get((provider, slug))
        return found if found and found.api else None

    def accept(self, event: Event, account: Account) -> Receipt:
        """Put in what has a fact of its own."""
        return self.placing.accept(self.sink, [Sealed(event)], BY_NAME[event.provider], account)[0]

    def accept_all(self, events: Sequence[Event], account: Account) -> Sequence[Receipt]:
        """Put in the events of one payment, in their order."""
        return [self.accept(event, account) for event in events]

    def release(self, event: Event, account: Account) -> Receipt:
        """Give out a fact that was held."""
        return self.placing.release(self.sink, event, BY_NAME[event.provider], account)


@cache
def _built() -> tuple[config.Settings, RedisSink, Placing]:
    """Write over a connection of our own: RQ's pool hands out a hundred, and each sink takes one for good."""
    settings = config.load()
    sink = RedisSink.of(settings)
    return settings, sink, Placing(settings.routes, settings.reconcile_after[0])


@cache
def _questions(client: redis.Redis) -> Questions:
    return Questions(client)


def at_work() -> Desk:
    """Return the desk of the worker that runs the current job."""
    job = get_current_job()
    if job is None:
        raise RuntimeError("this is a job of RQ and runs in its worker")
    settings, sink, placing = _built()
    return Desk(settings, sink, placing, job.connection, _questions(job.connection), job.id)
