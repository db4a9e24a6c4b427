"""What can be wrong on this machine: files that others may read, folders that cannot be written, slow disks."""

from collections.abc import Iterator, Sequence

from workers.doctor.checking import Check, Severity
from workers.doctor.facts import Machine
from workers.doctor.work import span

SLOW = 0.1  # seconds a write to the disk takes
WAITS = 60.0  # seconds; the spool drains by itself within a few
SMALL = 0.1  # of spool_max
_MIB = 1024 * 1024


def _untested(machine: Machine) -> Iterator[str]:
    for one in machine.packages:
        if not one.fits:
            yield f"{one.name} {one.version or 'is not installed'}; tested is {one.tested}"


def _open(machine: Machine) -> Iterator[str]:
    yield from machine.open_secrets


def _shared(machine: Machine) -> Iterator[str]:
    yield from machine.shared_secrets


def _config(machine: Machine) -> Iterator[str]:
    if machine.config_writable:
        yield "others may write to the configuration file"


def _data(machine: Machine) -> Iterator[str]:
    if machine.data:
        yield f"ULAK_DATA cannot be written to ({machine.data})"


def _metrics(machine: Machine) -> Iterator[str]:
    if machine.metrics:
        yield f"the folder of the metrics cannot be written to ({machine.metrics})"


def _slow(machine: Machine) -> Iterator[str]:
    if machine.fsync > SLOW:
        yield f"a write to the disk of ULAK_DATA takes {machine.fsync * 1000:.0f} ms"


def _unreadable(machine: Machine) -> Iterator[str]:
    if machine.spool.trouble:
        yield f"the spool cannot be looked at ({machine.spool.trouble})"


def _waiting(machine: Machine) -> Iterator[str]:
    spool = machine.spool
    if spool.waiting and spool.age > WAITS:
        yield f"{spool.waiting} callbacks wait in the spool, the oldest for {span(spool.age)}"


def _old(machine: Machine) -> Iterator[str]:
    if machine.spool.old:
        yield f"{machine.spool.old} callbacks in the spool are older than dedupe_days"


def _parked(machine: Machine) -> Iterator[str]:
    if machine.spool.parked:
        yield f"{machine.spool.parked} callbacks are parked in the spool"


def _small(machine: Machine) -> Iterator[str]:
    spool = machine.spool
    if not spool.trouble and spool.room < SMALL * spool.most:
        yield f"the spool has room for {spool.room // _MIB} MiB of its {spool.most // _MIB}"


CHECKS: Sequence[Check[Machine]] = (
    Check(
        "secret_open",
        Severity.FAULT,
        "Others may read the file of a secret.",
        _open,
        "Everybody with a login here can read this secret, and so forge callbacks or open what is kept.",
        "`chmod 600`, and `chown` to the user that runs Ulak.",
    ),
    Check(
        "secret_shared",
        Severity.WARNING,
        "A group may read the file of a secret.",
        _shared,
        "Everybody in the file's group can read this secret.",
        "`chmod 600`, unless the group is there for this.",
    ),
    Check(
        "config_writable",
        Severity.FAULT,
        "Others may write to the configuration file.",
        _config,
        "Who can write to it can name own secrets, and the code that workers run.",
        "`chmod go-w`.",
    ),
    Check(
        "data_unwritable",
        Severity.FAULT,
        "ULAK_DATA cannot be written to.",
        _data,
        "Without Redis, callbacks could not be spooled and would be answered 503.",
        "Give the folder to the user that runs Ulak, or name another one in ULAK_DATA; run the doctor as that user.",
    ),
    Check(
        "metrics_unwritable",
        Severity.FAULT,
        "The folder of the metrics cannot be written to.",
        _metrics,
        "The receiver does not start, or counts nothing.",
        "Give the folder to the user that runs Ulak, or name another one in PROMETHEUS_MULTIPROC_DIR.",
    ),
    Check(
        "fsync_slow",
        Severity.WARNING,
        "A small write to the disk of ULAK_DATA takes more than 100 ms.",
        _slow,
        "Each spooled callback waits for such a write, one after the other, and the provider waits with it.",
        "Put ULAK_DATA on a disk of this machine, not on a network's.",
    ),
    Check(
        "spool_unreadable",
        Severity.FAULT,
        "The spool cannot be looked at.",
        _unreadable,
        "Without Redis, callbacks could not be spooled and would be answered 503.",
        "`ulak explain` tells what the word means; look at `spool.db` in ULAK_DATA and who may write to it.",
    ),
    Check(
        "spool_old",
        Severity.FAULT,
        "The spool has callbacks that are older than `dedupe_days`.",
        _old,
        "They are not drained by themselves, for they may have come in another way since and be forgotten.",
        "Look in the provider's panel whether their events are missing, then `ulak drain --old`.",
    ),
    Check(
        "spool_parked",
        Severity.FAULT,
        "The spool has callbacks that Redis refuses.",
        _parked,
        "Redis refused each of them five times for its own sake, so no event came of them.",
        "`ulak drain` says for what reason each was parked; mend that, then `ulak drain --parked`.",
    ),
    Check(
        "spool_waiting",
        Severity.WARNING,
        "Callbacks have waited in the spool for more than 1 min.",
        _waiting,
        "They were answered with success, and no event is given out before they are drained.",
        "While Redis answers the receiver drains them by itself: look at its log, or use `ulak drain`.",
    ),
    Check(
        "spool_small",
        Severity.WARNING,
        "The spool has less than a tenth of its room left.",
        _small,
        "A full spool, or a full disk under it, answers callbacks with 503.",
        "Make room on the disk of ULAK_DATA, drain the spool, or raise spool_max.",
    ),
    Check(
        "untested_version",
        Severity.WARNING,
        "RQ, redis-py or gunicorn was not tested in the installed version.",
        _untested,
        "Ulak relies on details of these libraries that other versions may not have.",
        "Install the locked versions: `make setup`, or `pip install -r requirements.lock`.",
    ),
)
