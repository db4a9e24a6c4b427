"""
What is wrong between settings that are fine one by one; ``ulak check`` tells them with the others.

Each fault is the place and a sentence that says what to do; no value of a secret is in it.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from receiver import routing
from receiver.account import Account, Confirm, Secret
from receiver.event import Kind
from receiver.ports import Provider
from receiver.providers import BY_NAME
from receiver.routing import OURS, Route

Fault = tuple[str, str]


def of_account(place: str, provider: Provider, account: Account, given: Container[str]) -> Iterator[Fault]:
    """Find what is wrong between the settings of one account; *given* are those that the file has."""
    yield from _of_secrets(place, provider, account)
    yield from _of_result(place, account, given)
    known = frozenset().union(*(channel.known for channel in provider.channels.values()))
    for name in sorted(known & account.custom):
        yield f"{place} custom", f"{name} is the provider's own field, not yours"
    if account.confirm is not Confirm.NEVER and not account.api:
        yield f"{place} confirm", "needs [accounts.api]: without credentials nobody can be asked"


def _of_secrets(place: str, provider: Provider, account: Account) -> Iterator[Fault]:
    tokens = {token.value for token in account.tokens}
    read_by_shoppers = {token.value for token in account.browser_tokens}
    if tokens & read_by_shoppers:
        yield f"{place} browser_token", "must differ from token: the shopper can read it"
    result = (account.result_secret,) if account.result_secret else ()
    for name, secrets in (("expected_token", account.expected_tokens), ("result_secret", result)):
        if (tokens | read_by_shoppers) & {secret.value for secret in secrets}:
            yield f"{place} {name}", "must differ from token and browser_token: those stand in URLs"
    published = {text.encode() for text in provider.settings.published_secrets}
    if not account.test and any(secret.value in published for secret in account.secrets):
        yield f"{place} secrets", "is the provider's published test secret; set `test = true` or use your own"
    credentials = account.secrets or any(isinstance(value, Secret) for value in account.api.values())
    if not account.test and _in_clear(str(account.api.get("base_url", ""))) and credentials:
        yield f"{place} api.base_url", "must be https: credentials would go in clear"


def _of_result(place: str, account: Account, given: Container[str]) -> Iterator[Fault]:
    if account.result_url and "result_secret" not in given:
        yield f"{place} result_secret", "is required with result_url: it signs what the browser carries"
    for name in ("result_secret", "relay"):
        if name in given and not account.result_url:
            yield f"{place} {name}", "does nothing without result_url"


def of_accounts(accounts: Sequence[Account], dedupe_seconds: int) -> Iterator[Fault]:
    """Find what is wrong between accounts, and between one of them and the whole; 0 seconds remember for ever."""
    seen: set[tuple[str, str]] = set()
    owners: dict[tuple[str, bytes], str] = {}
    for account in accounts:
        place = f"accounts {account.provider}/{account.slug}"
        if (account.provider, account.slug) in seen:
            yield place, "is there twice; a slug may be used once a provider"
        seen.add((account.provider, account.slug))
        for secret in {*account.secrets, *account.tokens, *account.browser_tokens, *account.expected_tokens}:
            owner = owners.setdefault((account.provider, secret.value), account.slug)
            if owner != account.slug:
                whose = f"{account.provider}/{owner}"
                yield (
                    f"{place} {secret.key_id}",
                    f"is also a secret of {whose}: what is for one would pass for the other",
                )
        if dedupe_seconds and account.confirm_for > dedupe_seconds:
            yield f"{place} confirm_for", "is longer than dedupe_days: the fact would be forgotten"


def of_routes(routes: Sequence[Route], accounts: Sequence[Account]) -> Iterator[Fault]:
    """Find what is wrong between routes, and what of the accounts they would leave out by choosing verdicts."""
    names: set[str] = set()
    slugs = {account.slug for account in accounts}
    for route in routes:
        place = f"routes {route.target.route}"
        for given, there, what in (
            (route.providers, set(BY_NAME), "provider"),
            (route.accounts, slugs, "account of this configuration"),
        ):
            for name in sorted(set(given) - there - {"*"}):
                yield place, f"{name} is the name of no {what}"
        if route.target.route in names:
            yield place, "is there twice; job ids are made of the name"
        names.add(route.target.route)
        if route.target.queue in OURS:
            yield place, f"{route.target.queue} is a queue of our own questions"
    yield from _of_verdicts(routes, accounts)


def _of_verdicts(routes: Sequence[Route], accounts: Iterable[Account]) -> Iterator[Fault]:
    for account in accounts:
        lost = {verdict for kind in Kind for verdict in routing.unrouted(account, kind, routes)}
        if lost:
            place = f"routes, for accounts {account.provider}/{account.slug}"
            yield place, f"no route takes the verdicts {', '.join(sorted(lost))}; add one without `verdicts`"


def _in_clear(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}
