"""What ``REDIS_URL`` may say: one Redis, or the sentinels that know which one is the master now."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

SENTINEL_PORT = 26379
_PLAIN = frozenset({"redis", "rediss", "unix"})
_WATCHED = "redis+sentinel"
_FORM = f"{_WATCHED}://host:port,host:port,host:port/<master>/<db>"
_NAME = re.compile(r"[A-Za-z0-9._-]+")  # what a sentinel takes
_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Watched:
    """A Redis that sentinels watch. What is None is not sent: they may want a password of their own, or none."""

    sentinels: tuple[Place, ...]
    master: str
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


def read(url: str) -> Watched | None:
    """Return whom to ask for the master, or None for the address of one Redis; raise ValueError with a sentence."""
    scheme, _, rest = url.partition("://")
    if scheme == _WATCHED:
        return _watched(rest)
    try:
        usable = scheme in _PLAIN and urlsplit(url).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(f"is no address of a Redis (redis://host:port/db, rediss://…, unix://path or {_FORM})")
    return None


def _watched(rest: str) -> Watched:
    """Take it apart by hand: a URL has one host, and the standard library refuses several in brackets."""
    where, _, query = rest.partition("?")
    hosts, *path = where.split("/")
    who, _, hosts = hosts.rpartition("@")
    username, _, password = who.partition(":")
    if username and not password:
        raise ValueError("has a user without a password; a password alone is written :password@")
    sentinels = tuple(_place(host) for host in hosts.split(","))
    if len(set(sentinels)) < len(sentinels):
        raise ValueError("names a sentinel twice, and then no majority of them means anything")
    if not path or not _NAME.fullmatch(path[0]):
        raise ValueError(f"names no master, the name that the sentinels know it by: {_FORM}")
    db = path[1] if len(path) > 1 else ""
    if len(path) > 2 or not re.fullmatch(r"[0-9]{0,5}", db):
        raise ValueError(f"must end with the number of a database, or with the master: {_FORM}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if options.keys() - _OPTIONS or (query and not options):
        raise ValueError(f"takes no options with sentinels but {' and '.join(sorted(_OPTIONS))}")
    return Watched(
        sentinels,
        path[0],
        int(db or 0),
        unquote(username) or None,
        unquote(password) or None,
        options.get("sentinel_username"),
        options.get("sentinel_password"),
    )


def _place(host: str) -> Place:
    try:
        found = urlsplit(f"//{host}")
        name, port = found.hostname, found.port
    except ValueError:
        name, port = None, None
    if not name or found.netloc != host or port == 0 or re.search(r"[\s@]", host):
        raise ValueError(f"has a sentinel that is no host:port: {_FORM}")
    return name, port or SENTINEL_PORT
