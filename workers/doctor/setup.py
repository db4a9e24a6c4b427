"""What may be wrong with a configuration that can be used: the doctor's opinion, where ``ulak check`` has none."""

import math
from collections.abc import Iterator, Sequence

from receiver import address
from receiver.account import Account, Secret
from receiver.config import DEFAULT_REDIS, Settings
from receiver.ports import Token
from receiver.providers import BY_NAME
from receiver.references import TOKEN_LENGTH
from workers.doctor.checking import Check, Severity
from workers.doctor.work import span

BITS = 60  # that a token should have at least, counted by its length and the signs in it
_DAY = 24 * 3600


def _faulty(faults: Sequence[str]) -> Iterator[str]:
    yield from faults


def _markers(settings: Settings) -> Iterator[str]:
    kept = settings.dedupe_days * _DAY
    for name in sorted({account.provider for account in settings.accounts.values()}):
        needed = BY_NAME[name].retries_for
        if kept and needed > kept:
            yield f"{name} sends a callback again for {span(needed)}; dedupe_days is {settings.dedupe_days}"


def _no_token(settings: Settings) -> Iterator[str]:
    for account in settings.accounts.values():
        channels = BY_NAME[account.provider].channels.values()
        if not account.tokens and any(channel.token is Token.OPTIONAL for channel in channels):
            yield f"{_name(account)} has no token"


def _weak(settings: Settings) -> Iterator[str]:
    metrics = (("metrics_token", settings.metrics_token),) if settings.metrics_token else ()
    owned = [(f"{_name(account)} {name}", one) for account in settings.accounts.values() for name, one in _own(account)]
    for place, secret in (*owned, *metrics):
        if len(secret.value) < TOKEN_LENGTH:
            yield f"{place} ({secret.key_id}) has {len(secret.value)} characters only"
        elif len(secret.value) * math.log2(len(set(secret.value))) < BITS:
            yield f"{place} ({secret.key_id}) repeats a few characters only"


def _own(account: Account) -> Iterator[tuple[str, Secret]]:
    """Yield the secrets that the merchant made up; the provider's are as the provider gave them."""
    for name, secrets in (
        ("token", account.tokens),
        ("browser_token", account.browser_tokens),
        ("expected_token", account.expected_tokens),
    ):
        yield from ((name, secret) for secret in secrets)
    if account.result_secret:
        yield "result_secret", account.result_secret


def _default_redis(settings: Settings) -> Iterator[str]:
    live = [_name(account) for account in settings.accounts.values() if not account.test]
    if live and settings.redis_url == DEFAULT_REDIS:
        yield f"REDIS_URL is not set, and {', '.join(live)} {'is' if len(live) == 1 else 'are'} live"


def _unwaited(settings: Settings) -> Iterator[str]:
    if address.read(settings.redis_url) is not None and not settings.wait_replicas:
        yield "REDIS_URL names sentinels, and wait_replicas is 0"


def _name(account: Account) -> str:
    return f"{account.provider}/{account.slug}"


CONFIG: Sequence[Check[Sequence[str]]] = (
    Check(
        "config_faulty",
        Severity.FAULT,
        "The configuration has a fault.",
        _faulty,
        "With such a configuration nothing starts, and what runs ends at its next start.",
        "Mend each, and run `ulak check` until it finds none.",
    ),
)
CHECKS: Sequence[Check[Settings]] = (
    Check(
        "markers_short",
        Severity.FAULT,
        "`dedupe_days` is shorter than a provider's retries.",
        _markers,
        "A callback that comes again after its fact is forgotten becomes a second event.",
        "Raise `dedupe_days` above the time of the provider's retries.",
    ),
    Check(
        "no_token",
        Severity.WARNING,
        "An account whose address may have a token has none.",
        _no_token,
        "The provider's hash leaves out the status, so who sees one callback can send another status with its hash.",
        "Set `token`, and put it at the end of the address in the provider's panel.",
    ),
    Check(
        "weak_token",
        Severity.WARNING,
        "A token or `result_secret` is short or has little variety.",
        _weak,
        "Who guesses it can make callbacks, announcements or signed results that look like the true ones.",
        "Make another with `openssl rand -hex 20`; the old one stays valid beside it until the panel has the new one.",
    ),
    Check(
        "replicas_unwaited",
        Severity.WARNING,
        "Sentinels are named, and `wait_replicas` is 0.",
        _unwaited,
        "A failover loses what the replica had not got yet, though it was answered with success.",
        "Set `wait_replicas = 1`, and min-replicas-to-write in Redis.",
    ),
    Check(
        "default_redis",
        Severity.WARNING,
        "An account is live, and REDIS_URL is not set.",
        _default_redis,
        "A Redis that happens to listen there gets the events, perhaps another program's, which may empty it.",
        "Name the Redis of this system in REDIS_URL, for the receiver and for the workers.",
    ),
)
