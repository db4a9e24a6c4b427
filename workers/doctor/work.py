"""What can be wrong with the workers: jobs that nobody takes, that are stuck, or that a kill would lose."""

from collections.abc import Iterator, Sequence

from workers.doctor.checking import Check, Severity
from workers.doctor.facts import Work

BEHIND = 600  # seconds that a job waits for its turn


def _no_keeper(work: Work) -> Iterator[str]:
    if not work.keeper:
        yield "no keeper runs"


def _two_queues(work: Work) -> Iterator[str]:
    for worker in work.workers:
        if len(worker.queues) > 1:
            yield f"{worker.name} works on {', '.join(worker.queues)}"


def _without_worker(work: Work) -> Iterator[str]:
    worked_on = {queue for worker in work.workers for queue in worker.queues}
    for name, queue in work.queues.items():
        if name not in worked_on:
            yield f"nobody works on {name}; {_jobs(queue.waiting)} {_wait(queue.waiting)} there"


def _suspended(work: Work) -> Iterator[str]:
    if work.suspended:
        yield "RQ's workers are suspended"


def _untested(work: Work) -> Iterator[str]:
    for worker in work.workers:
        if not worker.rq.fits:
            yield f"{worker.name} runs RQ {worker.rq.version or 'of an unknown version'}; tested is {worker.rq.tested}"


def _stuck(work: Work) -> Iterator[str]:
    for name, queue in work.queues.items():
        if queue.stuck:
            yield f"{name}: {_jobs(queue.stuck)} taken and not begun"


def _behind(work: Work) -> Iterator[str]:
    for name, queue in work.queues.items():
        if queue.waits > BEHIND:
            yield f"{name}: {_jobs(queue.waiting)} {_wait(queue.waiting)}, the next one for {span(queue.waits)}"


def _failed(work: Work) -> Iterator[str]:
    for name, queue in work.queues.items():
        if queue.failed:
            yield f"{name}: {_jobs(queue.failed)} failed for good"


def _no_scheduler(work: Work) -> Iterator[str]:
    for name, queue in work.queues.items():
        if queue.scheduled and not queue.scheduler:
            yield f"{name}: {_jobs(queue.scheduled)} {_wait(queue.scheduled)} for a time, and no scheduler runs"


def _jobs(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"


def span(seconds: float) -> str:
    """Say a span in the unit that a person would take."""
    for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


CHECKS: Sequence[Check[Work]] = (
    Check(
        "worker_two_queues",
        Severity.FAULT,
        "A worker listens to several queues.",
        _two_queues,
        "Such a worker takes a job without RQ's intermediate list: killed at that moment, the job is lost.",
        "Start a worker for each queue; `ulak worker` does.",
    ),
    Check(
        "queue_without_worker",
        Severity.FAULT,
        "Nobody works on a queue of the configuration.",
        _without_worker,
        "Its events are kept, and reach nobody.",
        "Start `ulak worker`, or a stock `rq worker` for this queue.",
    ),
    Check(
        "workers_suspended",
        Severity.FAULT,
        "RQ's workers are suspended.",
        _suspended,
        "They finish what they have begun, and take no further job.",
        "`rq resume`, once what it was done for is over.",
    ),
    Check(
        "no_scheduler",
        Severity.FAULT,
        "Jobs wait for a time, and no scheduler looks after their queue.",
        _no_scheduler,
        "What waits for a time (a retry after a pause, a question to an API) is brought back by a scheduler only.",
        "Start `ulak worker` or `ulak keeper`, or give a stock `rq worker` of this queue `--with-scheduler`.",
    ),
    Check(
        "no_keeper",
        Severity.WARNING,
        "No keeper runs.",
        _no_keeper,
        "Nobody brings back what a killed worker had taken, trims the streams or stops callbacks before Redis is full.",
        "Start `ulak worker`, in which a keeper runs, or `ulak keeper` beside stock workers.",
    ),
    Check(
        "worker_version",
        Severity.WARNING,
        "A worker runs a version of RQ that was not tested.",
        _untested,
        "Jobs are written in RQ's own format, which was compared with the tested versions only.",
        "Install a tested version of RQ where this worker runs.",
    ),
    Check(
        "jobs_stuck",
        Severity.WARNING,
        "A job has left its queue, and no worker has begun it 2 s later.",
        _stuck,
        "A worker was killed between taking a job and beginning it; the job waits in RQ's intermediate list.",
        "The keeper brings it back within two minutes; without one, RQ's own maintenance may mark it failed.",
    ),
    Check(
        "queue_behind",
        Severity.WARNING,
        "The next job of a queue has waited for more than 10 min.",
        _behind,
        "Events come faster than they are worked off, or the workers hang.",
        "Start more workers (`ulak worker --processes N`), or look at why a job takes so long.",
    ),
    Check(
        "jobs_failed",
        Severity.WARNING,
        "RQ's failed registry of a queue has jobs.",
        _failed,
        "Your code has raised at every try, so these events had no effect, and after 30 days they are forgotten.",
        "`rq info` names them; mend the code, then `rq requeue --queue NAME --all`.",
    ),
)
