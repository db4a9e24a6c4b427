"""
The configuration: one TOML file, with every fault found and told at once (docs/configuration.md).

Secrets are references only, ``env:NAME`` or ``file:PATH``; a fault names the place and never the value.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, missing

from receiver.account import Account, Confirm, Secret
from receiver.errors import ConfigError
from receiver.message import Level
from receiver.ports import Provider, Target
from receiver.providers import BY_NAME
from receiver.references import References
from receiver.routing import CONFIRM, Route
from receiver.settings import RouteSchema, TopSchema, account_schema
from receiver.signing import hex_hmac_sha256

DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
DEFAULT_ROUTE = Route(Target("events", "events", "workers.jobs.on_event"))
DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration without a fault."""

    accounts: Mapping[tuple[str, str], Account]
    routes: tuple[Route, ...]
    redis_url: str = field(repr=False)  # may hold a password
    data: Path
    dedupe_days: int = 30
    events_keep: int = DAY  # seconds
    data_keys: tuple[bytes, ...] = field(default=(), repr=False)
    metrics_token: Secret | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that needs a worker, in the order of the routes."""
        asking = any(account.confirm is not Confirm.NEVER for account in self.accounts.values())
        named = [route.target.queue for route in self.routes] + ([CONFIRM.queue] if asking else [])
        return tuple(dict.fromkeys(named))


def locate(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("ULAK_CONFIG") or "ulak.toml")


def data_folder(environ: Mapping[str, str]) -> Path:
    """``ULAK_DATA``, or ``.ulak`` beside the configuration file."""
    named = environ.get("ULAK_DATA")
    return Path(named) if named else locate(environ).absolute().parent / ".ulak"


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the file that ``ULAK_CONFIG`` names; raise ConfigError with every fault."""
    environ = os.environ if environ is None else environ
    path = locate(environ)
    try:
        tree = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read ({exc.strerror}); ULAK_CONFIG names the file"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError([f"{path}: is no TOML: {exc}"]) from None
    return _Reader(path.absolute().parent, environ).settings(tree)


class _Reader:
    """Collects faults while it reads, so that one run tells them all."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._faults: list[str] = []
        self._references = References(folder, environ, self._faults)

    def settings(self, tree: Mapping[str, Any]) -> Settings:
        lists: dict[str, list[Any]] = {}
        for name in ("accounts", "routes"):
            found = tree.get(name, [])
            lists[name] = found if isinstance(found, list) else []
            if not isinstance(found, list):
                self._fault(name, f"must be a list of tables, written [[{name}]]")
        top = self._load("", TopSchema(), {name: tree[name] for name in tree if name not in lists})
        keys = self._references.data_keys(top.get("data_key", ()))
        pseudonym = bytes.fromhex(hex_hmac_sha256(keys[0], b"customer.key")) if keys else None
        accounts = [self._account(number, entry, pseudonym) for number, entry in enumerate(lists["accounts"])]
        known = [account for account in accounts if account is not None]
        routes = [self._route(number, entry) for number, entry in enumerate(lists["routes"])]
        if not lists["accounts"]:
            self._fault("accounts", "there is none; write at least one [[accounts]] table")
        if "data_key" not in tree and any(not account.test for account in known):
            self._fault("data_key", "is required as soon as one account is not `test = true`: it encrypts what is kept")
        self._compare_accounts(known)
        self._compare_routes([route for route in routes if route], {account.slug for account in known})
        dedupe = top["dedupe_days"]
        self._compare_holds(known, dedupe)
        redis_url = self._environ.get("REDIS_URL") or DEFAULT_REDIS
        if not _is_redis(redis_url):
            self._fault("REDIS_URL", "is no address of a Redis (redis://host:port/db, rediss://… or unix://path)")
        token = top.get("metrics_token")
        metrics_token = self._references.token("metrics_token", token) if token else None
        if self._faults:
            raise ConfigError(self._faults)
        return Settings(
            accounts={(account.provider, account.slug): account for account in known},
            routes=tuple(route for route in routes if route) or (DEFAULT_ROUTE,),
            redis_url=redis_url,
            data=Path(self._environ.get("ULAK_DATA") or self._folder / ".ulak"),
            dedupe_days=dedupe,
            events_keep=top["events_keep"],
            data_keys=keys,
            metrics_token=metrics_token,
        )

    def _fault(self, place: str, text: str) -> None:
        self._faults.append(f"{place}: {text}" if place else text)

    def _load(self, place: str, schema: Schema, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return what could be read, defaults for the rest: a fault of form must not hide the faults behind it."""
        try:
            return dict(schema.load(entry))
        except ValidationError as exc:
            for path, message in _flatten(exc.messages_dict):
                self._fault(" ".join(filter(None, (place, path))), message)
            valid = exc.valid_data if isinstance(exc.valid_data, dict) else {}
            return {**_defaults(schema), **valid}

    def _account(self, number: int, entry: object, pseudonym: bytes | None) -> Account | None:
        place = f"accounts[{number}]"
        if not isinstance(entry, dict):
            self._fault(place, "must be a table")
            return None
        provider = BY_NAME.get(str(entry.get("provider")))
        if provider is None:
            self._fault(f"{place} provider", f"must be one of {', '.join(BY_NAME)}")
            return None
        place = f"{place} {provider.name}/{entry.get('slug', '?')}"
        return self._build(place, provider, self._load(place, account_schema(provider), entry), pseudonym)

    def _build(self, place: str, provider: Provider, loaded: dict[str, Any], pseudonym: bytes | None) -> Account:
        api = {
            name: self._references.resolved(f"{place} api.{name}", value)
            for name, value in loaded.get("api", {}).items()
        }
        if loaded.get("expected_token"):
            self._references.token(f"{place} expected_token", loaded["expected_token"])
        own = provider.settings.account.fields.keys() - {"secrets"}
        account = Account(
            provider=provider.name,
            slug=loaded.get("slug", "?"),
            test=loaded["test"],
            secrets=self._references.secrets(place, loaded.get("secrets", [])),
            tokens=self._references.tokens(f"{place} token", loaded.get("token", ())),
            browser_tokens=self._references.tokens(f"{place} browser_token", loaded.get("browser_token", ())),
            result_url=loaded.get("result_url"),
            result_secret=self._references.one(f"{place} result_secret", loaded.get("result_secret")),
            relay=loaded.get("relay", False),
            confirm=Confirm(loaded["confirm"] or ("unproven" if api else "never")),
            confirm_for=loaded["confirm_for"],
            release_unconfirmed=loaded["unconfirmed"] == "release",
            clear_personal=loaded["personal"] == "clear",
            custom=frozenset(loaded["custom"]),
            pseudonym_key=pseudonym,
            options={name: loaded.get(name) for name in own},
            api=api,
        )
        self._check(place, provider, account, loaded)
        return account

    def _check(self, place: str, provider: Provider, account: Account, loaded: Mapping[str, Any]) -> None:
        """Find what is wrong between the settings of one account."""
        if {token.value for token in account.tokens} & {token.value for token in account.browser_tokens}:
            self._fault(f"{place} browser_token", "must differ from token: the shopper can read it")
        published = {text.encode() for text in provider.settings.published_secrets}
        if not account.test and any(secret.value in published for secret in account.secrets):
            self._fault(
                f"{place} secrets", "is the provider's published test secret; set `test = true` or use your own"
            )
        if account.result_url and not loaded.get("result_secret"):
            self._fault(f"{place} result_secret", "is required with result_url: it signs what the browser carries")
        for needing in ("result_secret", "relay"):
            if loaded.get(needing) and not account.result_url:
                self._fault(f"{place} {needing}", "does nothing without result_url")
        known = frozenset().union(*(channel.known for channel in provider.channels.values()))
        for name in sorted(known & account.custom):
            self._fault(f"{place} custom", f"{name} is the provider's own field, not yours")
        credentials = account.secrets or _holds_secret(account.api)
        if not account.test and _in_clear(str(account.api.get("base_url", ""))) and credentials:
            self._fault(f"{place} api.base_url", "must be https: credentials would go in clear")
        if account.confirm is not Confirm.NEVER and not account.api:
            self._fault(f"{place} confirm", "needs [accounts.api]: without credentials nobody can be asked")

    def _route(self, number: int, entry: object) -> Route | None:
        place = f"routes[{number}]"
        if not isinstance(entry, dict):
            self._fault(place, "must be a table")
            return None
        loaded = self._load(f"{place} {entry.get('name', '?')}", RouteSchema(), entry)
        name = loaded.get("name", "?")
        return Route(
            target=Target(name, loaded["queue"] or name, loaded.get("job", "?")),
            kinds=tuple(loaded["kinds"]),
            providers=tuple(loaded["providers"]),
            accounts=tuple(loaded["accounts"]),
            test=loaded["test"],
            min_trust=Level(loaded["min_trust"]),
            covers=frozenset(loaded["covers"]),
        )

    def _compare_accounts(self, accounts: Iterable[Account]) -> None:
        seen: set[tuple[str, str]] = set()
        owners: dict[tuple[str, bytes], str] = {}
        for account in accounts:
            place = f"accounts {account.provider}/{account.slug}"
            if (account.provider, account.slug) in seen:
                self._fault(place, "is there twice; a slug may be used once a provider")
            seen.add((account.provider, account.slug))
            for secret in {*account.secrets, *account.tokens, *account.browser_tokens}:
                owner = owners.setdefault((account.provider, secret.value), account.slug)
                if owner != account.slug:
                    self._fault(
                        f"{place} {secret.key_id}",
                        f"is also a secret of {account.provider}/{owner}: a callback for one would pass for the other",
                    )

    def _compare_routes(self, routes: Iterable[Route], slugs: set[str]) -> None:
        names: set[str] = set()
        for route in routes:
            for found, there, what in (
                (route.providers, set(BY_NAME), "provider"),
                (route.accounts, slugs, "account of this configuration"),
            ):
                for name in sorted(set(found) - there - {"*"}):
                    self._fault(f"routes {route.target.route}", f"{name} is the name of no {what}")
            if route.target.route in names:
                self._fault(f"routes {route.target.route}", "is there twice; job ids are made of the name")
            names.add(route.target.route)
            if route.target.queue == CONFIRM.queue:
                self._fault(f"routes {route.target.route}", f"{CONFIRM.queue} is the queue of our own questions")

    def _compare_holds(self, accounts: Iterable[Account], dedupe_days: int) -> None:
        for account in accounts:
            if dedupe_days and account.confirm_for > dedupe_days * DAY:
                place = f"accounts {account.provider}/{account.slug} confirm_for"
                self._fault(place, "is longer than dedupe_days: the fact would be forgotten")


def _defaults(schema: Schema) -> dict[str, Any]:
    found = {name: one.load_default for name, one in schema.fields.items() if one.load_default is not missing}
    return {name: value() if callable(value) else value for name, value in found.items()}


def _in_clear(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}


def _holds_secret(settings: Mapping[str, object]) -> bool:
    return any(isinstance(value, Secret) for value in settings.values())


def _is_redis(address: str) -> bool:
    try:
        scheme, port = urlsplit(address).scheme, urlsplit(address).port
    except ValueError:
        return False
    return scheme in {"redis", "rediss", "unix"} and port != 0


def _flatten(messages: Any, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            step = f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
            yield from _flatten(inner, "" if name == "_schema" else path + step)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield path, str(message)
