"""
Connections to Redis, for all who want one: plain, or to whom the sentinels call the master.

redis-py's own defaults hang a request for 59 s and send a command again that may have been done, so everybody here says
how long it waits. Its own connection by sentinels is not used: only ``connect()`` asks there, and a command sent after
a broken one goes to the old address, where the master was (docs/adr/0016).
"""

import os
import re
import threading
import time
from typing import Any

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from receiver import address
from receiver.failpoints import reach

CONNECT_TIMEOUT = 0.3
SOCKET_TIMEOUT = 0.5
_ASK_TIMEOUT = 0.2  # for one sentinel; they are asked one after the other
_REPLICA_PATIENCE = 300  # milliseconds that WAIT may take; shorter than we wait for an answer
_CONFIRMED_FOR = 1.0  # seconds; sentinels take at least as long to find out that a master is gone
_PAUSE = 0.2  # seconds between two looks for a master

# What a server says that is, or just became, a replica; and one that misses its replicas, as a master does that is cut
# off: the master may be elsewhere. Nothing was written.
_DEMOTED = frozenset({"READONLY", "MASTERDOWN", "UNBLOCKED"})
_DOUBTFUL = _DEMOTED | {"NOREPLICAS"}
_ERROR_WORD = re.compile(r"(?:^|: -)([A-Z]{3,})(?= )")


class NoMasterError(redis.exceptions.ConnectionError):
    """No majority of the sentinels answers and names the same master: nobody may be written to."""


class LeftMasterError(redis.exceptions.ConnectionError):
    """We have left a master that is a replica now, or may be cut off from its replicas."""


class Sentinels:
    """
    Those who know which Redis is the master; one that was cut off may be wrong, so a majority of them must agree.

    Threads and forked processes may share one: redis-py's clients see to that.
    """

    def __init__(self, watched: address.Watched) -> None:
        self._name = watched.master
        self._needed = len(watched.sentinels) // 2 + 1
        self._all: tuple[Any, ...] = tuple(
            redis.Redis(
                host,
                port,
                username=watched.sentinel_username,
                password=watched.sentinel_password,
                socket_connect_timeout=_ASK_TIMEOUT,
                socket_timeout=_ASK_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
            for host, port in watched.sentinels
        )

    def master(self) -> address.Place:
        """Return the address of the master; raise NoMasterError."""
        named: list[address.Place] = []
        silent: list[Any] = []
        for one in self._all:
            try:
                found = one.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
            except redis.exceptions.RedisError:
                silent.append(one)
                continue
            if not found:
                continue
            named.append((found[0].decode(), int(found[1])))
            if named.count(named[-1]) == self._needed:
                if silent:  # whose time-out need not be waited for again
                    self._all = tuple(sorted(self._all, key=silent.__contains__))
                return named[-1]
        raise NoMasterError(f"{len(named)} of {len(self._all)} sentinels name a master, and no majority the same")


class MasterConnection(redis.Connection):
    """
    A connection to the master of the moment: whoever opens it, or opens it again, asks the sentinels first.

    It looks for one for *patience* seconds. Connecting may be repeated where no command may.
    """

    def __init__(self, *, sentinels: Sentinels, patience: float, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._sentinels = sentinels
        self._patience = patience
        self._confirmed = 0.0

    def _connect(self) -> Any:
        until = time.monotonic() + self._patience
        while True:
            try:
                self.host, self.port = self._sentinels.master()
                self._confirmed = time.monotonic()
                return super()._connect()  # type: ignore[no-untyped-call]
            except (redis.exceptions.ConnectionError, OSError):
                if time.monotonic() >= until:
                    raise
                time.sleep(_PAUSE)

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)
        except redis.exceptions.ResponseError as exc:
            word = error_word(exc)
            if word not in _DOUBTFUL:
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise LeftMasterError(status_code=word) from None

    def confirm(self) -> None:
        """
        Leave a master that is none any more, so that the next command finds the new one; asks once a second at most.

        A master that hung while another was chosen goes on taking writes for seconds when it is back, and loses them.
        """
        now = time.monotonic()
        if not self.is_connected or now - self._confirmed < _CONFIRMED_FOR:
            return
        if self._sentinels.master() == (self.host, self.port):
            self._confirmed = now
        else:
            self.disconnect()  # type: ignore[no-untyped-call]


def client(url: str, *, patience: float = 0.0, **options: Any) -> redis.Redis:
    """
    Return a client for whatever ``REDIS_URL`` may say; *options* are those of redis-py's connections.

    Where sentinels are asked, a connection waits for a new master for *patience* seconds.
    """
    watched = address.read(url)
    if watched is None:
        return redis.Redis.from_url(url, **options)
    own: dict[str, Any] = {"db": watched.db, "username": watched.username, "password": watched.password}
    own |= {"sentinels": Sentinels(watched), "patience": patience}
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=MasterConnection, **own, **options))


def connect(url: str) -> redis.Redis:
    """Return a client for the way of a callback: it gives up within about a second, and repeats nothing by itself."""
    return client(
        url, socket_connect_timeout=CONNECT_TIMEOUT, socket_timeout=SOCKET_TIMEOUT, retry=Retry(NoBackoff(), 0)
    )


class Wire(threading.local):
    """
    One connection of redis-py's own for each thread, used without its client and pool (docs/adr: their cost a call).

    A connection error, and a master that is a replica now, is tried once more on a new connection, for everything sent
    here is safe to repeat; a time-out is not, for its time is spent. Whatever else breaks a call in the middle closes
    the connection: the answer still to come is not the next one's.
    """

    def __init__(self, found: redis.Redis, wait_replicas: int = 0) -> None:
        self._pool = found.connection_pool
        self._wait = ("WAIT", wait_replicas, _REPLICA_PATIENCE) if wait_replicas else None
        self._pid = 0

    def call(self, *command: Any) -> Any:
        (answer,) = self.calls(command)
        return answer

    def write(self, *command: Any) -> tuple[Any, int]:
        """Return the answer to a command that writes, and how many replicas have it, where they are waited for."""
        if self._wait is None:
            return self.call(*command), 0
        answer, copies = self.calls(command, self._wait)
        return answer, copies

    def calls(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Send commands at once and return their answers; where one is an error, raise the first."""
        if self._pid != os.getpid():  # never share a parent's connection
            self._connection: Any = self._pool.make_connection()
            self._watched = isinstance(self._connection, MasterConnection)
            self._pid = os.getpid()
        try:
            return self._once(commands)
        except NoMasterError:
            raise
        except redis.exceptions.ConnectionError:
            return self._once(commands)
        except redis.exceptions.ResponseError as exc:
            if error_word(exc) not in _DEMOTED:
                raise
            self._connection.disconnect()
            return self._once(commands)

    def _once(self, commands: tuple[tuple[Any, ...], ...]) -> list[Any]:
        connection = self._connection
        answers: list[Any] = []
        fault: redis.exceptions.ResponseError | None = None
        try:
            if self._watched:
                connection.confirm()
            connection.send_packed_command(
                [b"".join(part for one in commands for part in connection.pack_command(*one))]
            )
            reach("redis.sent")
            for _ in commands:
                try:
                    answers.append(connection.read_response())
                except redis.exceptions.ResponseError as exc:
                    fault = fault or exc
        except BaseException:
            connection.disconnect()
            raise
        if fault:
            raise fault
        return answers


def error_word(exc: redis.exceptions.RedisError) -> str:
    """
    Return Redis's own word for an error, such as READONLY, else the error's class.

    Redis 6.2 puts the word of a command in a script behind a sentence: "Error running script (...): 1: -OOM ...".
    redis-py cuts off the words that it has a class for.
    """
    found = _ERROR_WORD.search(str(exc))
    return found[1] if found else exc.status_code or type(exc).__name__
