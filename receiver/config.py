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

from marshmallow import Schema, ValidationError, missing

from receiver import address, faults
from receiver.account import Account, Confirm, Secret
from receiver.errors import ConfigError
from receiver.message import Level
from receiver.ports import Provider, Target
from receiver.providers import BY_NAME
from receiver.references import References
from receiver.routing import ASK, CONFIRM, Route
from receiver.settings import RouteSchema, TopSchema, account_schema
from receiver.signing import hex_hmac_sha256

DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
DEFAULT_ROUTE = Route(Target("events", "events", "workers.jobs.on_event"))
DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Keeping:
    """The keeper's times, in seconds; the defaults bring a job back within two minutes of its worker's death."""

    every: int = 5  # from round to round
    grace: int = 10  # for so long a job is seen lost before it is put back
    lease: int = 30  # for so long a keeper that was killed keeps others from acting


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration without a fault."""

    accounts: Mapping[tuple[str, str], Account]
    routes: tuple[Route, ...]
    redis_url: str = field(repr=False)  # may hold a password
    data: Path
    dedupe_days: int = 30
    events_keep: int = DAY  # seconds
    wait_replicas: int = 0
    data_keys: tuple[bytes, ...] = field(default=(), repr=False)
    metrics_token: Secret | None = None
    reconcile_after: tuple[int, ...] = (120, 600, 3600, 6 * 3600, DAY)  # seconds
    keeper: Keeping = Keeping()
    spool_max: int = 1 << 30  # bytes

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that needs a worker, in the order of the routes."""
        asking = any(account.api for account in self.accounts.values())
        named = [route.target.queue for route in self.routes] + ([CONFIRM.queue, ASK.queue] if asking else [])
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
        dedupe = top["dedupe_days"]
        found = [route for route in routes if route]
        self._tell(faults.of_accounts(known, dedupe * DAY))
        self._tell(faults.of_routes(found, known))
        redis_url = self._environ.get("REDIS_URL") or DEFAULT_REDIS
        try:
            address.read(redis_url)
        except ValueError as exc:
            self._fault("REDIS_URL", str(exc))
        token = top.get("metrics_token")
        metrics_token = self._references.token("metrics_token", token) if token else None
        if self._faults:
            raise ConfigError(self._faults)
        return Settings(
            accounts={(account.provider, account.slug): account for account in known},
            routes=tuple(found) or (DEFAULT_ROUTE,),
            redis_url=redis_url,
            data=Path(self._environ.get("ULAK_DATA") or self._folder / ".ulak"),
            dedupe_days=dedupe,
            events_keep=top["events_keep"],
            wait_replicas=top["wait_replicas"],
            data_keys=keys,
            metrics_token=metrics_token,
            reconcile_after=tuple(top["reconcile_after"]),
            keeper=Keeping(**top["keeper"]),
            spool_max=top["spool_max"],
        )

    def _tell(self, found: Iterable[faults.Fault]) -> None:
        for place, text in found:
            self._fault(place, text)

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
        own = provider.settings.account.fields.keys() - {"secrets"}
        account = Account(
            provider=provider.name,
            slug=loaded.get("slug", "?"),
            test=loaded["test"],
            secrets=self._references.secrets(place, loaded.get("secrets", [])),
            tokens=self._references.tokens(f"{place} token", loaded.get("token", ())),
            browser_tokens=self._references.tokens(f"{place} browser_token", loaded.get("browser_token", ())),
            expected_tokens=self._references.tokens(f"{place} expected_token", loaded.get("expected_token", ())),
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
        self._tell(faults.of_account(place, provider, account, {name for name, value in loaded.items() if value}))
        return account

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
            verdicts=frozenset(loaded["verdicts"]),
        )


def _defaults(schema: Schema) -> dict[str, Any]:
    found = {name: one.load_default for name, one in schema.fields.items() if one.load_default is not missing}
    return {name: value() if callable(value) else value for name, value in found.items()}


def _flatten(messages: Any, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            step = f"[{name}]" if isinstance(name, int) else f".{name}" if path else str(name)
            yield from _flatten(inner, "" if name == "_schema" else path + step)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield path, str(message)
