"""What can be wrong with Redis: may it lose what was answered with success, and is there room for more."""

from collections.abc import Iterator, Sequence

from workers.doctor.checking import Check, Severity
from workers.doctor.facts import Contact, Store

OLDEST = (6, 2)
CLOSE = 0.7  # of the memory; the keeper stops callbacks at 0.85, and a person needs time before that
APART = 5.0  # seconds; pauses of retries and of questions are shorter than minutes
_MIB = 1024 * 1024


def _away(contact: Contact) -> Iterator[str]:
    if contact.error:
        yield f"Redis does not answer ({contact.error})"


def _old(store: Store) -> Iterator[str]:
    known = tuple(int(part) for part in store.version.split(".")[:2] if part.isdecimal())
    if known < OLDEST:
        yield f"Redis is version {store.version or 'unknown'}"


def _cluster(store: Store) -> Iterator[str]:
    if store.cluster:
        yield "Redis runs as a cluster"


def _replica(store: Store) -> Iterator[str]:
    if store.role != "master":
        yield "REDIS_URL names a replica"


def _aof_off(store: Store) -> Iterator[str]:
    if not store.aof:
        yield "Redis keeps no append-only file"


def _fsync_no(store: Store) -> Iterator[str]:
    if _fsync(store) == "no":
        yield "Redis leaves it to the system when its file reaches the disk (appendfsync is no)"


def _fsync_everysec(store: Store) -> Iterator[str]:
    if _fsync(store) == "everysec":
        yield "Redis brings its file to the disk once a second (appendfsync is everysec)"


def _fsync(store: Store) -> str:
    return (store.settings or {}).get("appendfsync", "") if store.aof else ""


def _evicting(store: Store) -> Iterator[str]:
    if store.policy != "noeviction":
        yield f"maxmemory-policy is {store.policy or 'unknown'}"


def _no_maxmemory(store: Store) -> Iterator[str]:
    if not store.maxmemory:
        yield f"no maxmemory is set; Redis uses {_size(store.used)}"


def _memory_close(store: Store) -> Iterator[str]:
    most = store.maxmemory or store.machine
    if most and store.used >= CLOSE * most:
        yield f"Redis uses {_size(store.used)} of {_size(most)}: {store.used * 100 // most} %"


def _size(count: int) -> str:
    return f"{count / _MIB:,.0f} MiB".replace(",", " ")


def _full_flag(store: Store) -> Iterator[str]:
    if store.full is not None:
        yield f"callbacks are not let in; the flag was set by {store.full or 'a person'}"


def _replicas_few(store: Store) -> Iterator[str]:
    if store.replicas < store.wanted_replicas:
        yield f"{store.replicas} replicas follow, and wait_replicas is {store.wanted_replicas}"


def _min_replicas(store: Store) -> Iterator[str]:
    least = (store.settings or {}).get("min-replicas-to-write", "")
    if store.wanted_replicas and least.isdecimal() and int(least) < store.wanted_replicas:
        yield f"min-replicas-to-write is {least}, and wait_replicas is {store.wanted_replicas}"


def _disk_errors(store: Store) -> Iterator[str]:
    if store.failing:
        yield f"Redis could not write: {', '.join(store.failing)}"


def _settings_hidden(store: Store) -> Iterator[str]:
    if store.settings is None:
        yield "Redis does not tell its settings (CONFIG GET is not allowed)"


def _clocks_apart(store: Store) -> Iterator[str]:
    if abs(store.clock) > APART:
        yield f"the clock of Redis is {abs(store.clock):.0f} s {'ahead of' if store.clock > 0 else 'behind'} ours"


CONTACT: Sequence[Check[Contact]] = (
    Check(
        "redis_away",
        Severity.FAULT,
        "Redis does not answer.",
        _away,
        "Without Redis no event is given out, and callbacks lie in the spool of each host.",
        "Start Redis, or mend REDIS_URL and its password; the class of the error says which.",
    ),
)
CHECKS: Sequence[Check[Store]] = (
    Check(
        "redis_old",
        Severity.FAULT,
        "Redis is older than 6.2.",
        _old,
        "Jobs are taken with commands that came with 6.2; without them a killed worker loses its job.",
        "Install Redis 6.2 or newer, or Valkey.",
    ),
    Check(
        "redis_cluster",
        Severity.FAULT,
        "Redis runs as a cluster.",
        _cluster,
        "One script writes marker, event and jobs, and makes their names itself: a cluster would refuse or part them.",
        "Name a Redis in REDIS_URL that is no cluster.",
    ),
    Check(
        "redis_replica",
        Severity.FAULT,
        "REDIS_URL names a replica.",
        _replica,
        "A replica takes no writes, and what one takes is lost when it follows its master again.",
        "Name the master in REDIS_URL, or the sentinels that know it.",
    ),
    Check(
        "aof_off",
        Severity.FAULT,
        "Redis keeps no append-only file.",
        _aof_off,
        "A restart of Redis loses what was answered with success since the last snapshot, and what was known of it.",
        "`CONFIG SET appendonly yes`, and the same in redis.conf.",
    ),
    Check(
        "fsync_no",
        Severity.FAULT,
        "`appendfsync` is `no`.",
        _fsync_no,
        "A power cut, or a kill while the disk is busy, loses what was answered with success: half a minute and more.",
        "`CONFIG SET appendfsync always`, and the same in redis.conf.",
    ),
    Check(
        "fsync_everysec",
        Severity.WARNING,
        "`appendfsync` is `everysec`.",
        _fsync_everysec,
        "A power cut loses about two seconds of what was answered with success; so can a kill of Redis on a slow disk.",
        "`CONFIG SET appendfsync always`, and the same in redis.conf.",
    ),
    Check(
        "evicting",
        Severity.FAULT,
        "`maxmemory-policy` is not `noeviction`.",
        _evicting,
        "A full Redis would throw away facts and jobs: callbacks come twice, or events never.",
        "`CONFIG SET maxmemory-policy noeviction`, and the same in redis.conf.",
    ),
    Check(
        "no_maxmemory",
        Severity.WARNING,
        "`maxmemory` is not set.",
        _no_maxmemory,
        "Nobody can tell when Redis is nearly full, so it grows until the kernel kills it.",
        "`CONFIG SET maxmemory` to well below the machine's memory, and the same in redis.conf.",
    ),
    Check(
        "memory_close",
        Severity.WARNING,
        "Redis uses 70 % of its memory or more.",
        _memory_close,
        "At 85 % of maxmemory callbacks go to the spool, and at 100 % workers cannot even take jobs.",
        "Give Redis more memory, let the workers catch up, or lower events_keep.",
    ),
    Check(
        "full_flag",
        Severity.FAULT,
        "The full flag is set, by the keeper or by a person.",
        _full_flag,
        "While `ulak:full` is there, every callback goes to the spool, and no event is given out.",
        "The keeper takes its own flag away once there is room; one that a person set goes with `DEL ulak:full`.",
    ),
    Check(
        "replicas_few",
        Severity.FAULT,
        "Fewer replicas follow than `wait_replicas` asks for.",
        _replicas_few,
        "Each callback waits for its replicas in vain, and goes to the spool.",
        "Start the replicas that are missing, or lower wait_replicas.",
    ),
    Check(
        "min_replicas",
        Severity.FAULT,
        "`min-replicas-to-write` is less than `wait_replicas`.",
        _min_replicas,
        "A master that was cut off goes on giving out events, which nobody has once it follows the new master.",
        "`CONFIG SET min-replicas-to-write` to wait_replicas, on the master and on the replicas.",
    ),
    Check(
        "disk_errors",
        Severity.FAULT,
        "Redis says that a write to its disk failed.",
        _disk_errors,
        "What is answered with success now may not be there after a restart, or Redis refuses to write at all.",
        "Look at Redis's log and the free space of its disk.",
    ),
    Check(
        "settings_hidden",
        Severity.WARNING,
        "`CONFIG GET` is not allowed.",
        _settings_hidden,
        "So nobody can tell from here whether appendfsync is `always`.",
        "Allow `CONFIG GET` to this user, or look at the settings where Redis is run.",
    ),
    Check(
        "clocks_apart",
        Severity.WARNING,
        "The clocks of Redis and of this machine are more than 5 s apart.",
        _clocks_apart,
        "Pauses, budgets and ages are told by both clocks: retries come early or late, and limits of APIs are passed.",
        "Run a time service on both machines.",
    ),
)
