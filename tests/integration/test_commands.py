"""The command line, run as a person runs it."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from receiver import config
from receiver.asking import TROUBLES, Trouble
from receiver.errors import REASONS
from receiver.providers import PROVIDERS
from receiver.sending import Sending
from receiver.sink import EVENTS
from workers.doctor.checks import EVERY
from workers.quarantine import WHY_NOT

from .conftest import write_config
from .harness import (
    BIN,
    Receiver,
    RedisServer,
    alive,
    background,
    call,
    descendants,
    ended,
    environment,
    free_port,
    got,
    short_folder,
    speak,
    ulak,
    until,
    worker_pid,
)

pytestmark = pytest.mark.integration


def json_lines(text: str) -> list[Any]:
    return [orjson.loads(line) for line in text.splitlines()]


def queued(client: redis.Redis) -> int:
    return int(client.llen("rq:queue:events"))


def events(client: redis.Redis) -> list[dict[str, Any]]:
    found: Any = client.xrange(EVENTS)
    return [orjson.loads(fields[b"event"]) for _, fields in found]


def simulate(receiver: Receiver, *words: str) -> list[dict[str, Any]]:
    done = ulak("simulate", *words, "--to", receiver.base, "--json", env=receiver.env)
    assert done.returncode == 0, done.stderr
    return json_lines(done.stdout)


class TestCheck:
    def test_finds_no_fault_in_the_sandbox(self, tmp_path: Path) -> None:
        done = ulak("check", env=environment(ULAK_CONFIG=str(write_config(tmp_path))))

        assert (done.returncode, done.stdout, done.stderr) == (0, "6 account(s), 1 route(s), no fault\n", "")

    def test_lists_every_fault_with_its_place_and_ends_with_1(self, tmp_path: Path) -> None:
        path = write_config(tmp_path)
        text = path.read_text().replace('merchant_id = "123"\n', "").replace("test = true\n", "", 1)
        path.write_text(text + '\n[[routes]]\nname = "Bad Name"\njob = "no_dot"\nspeed = 3\n')
        (tmp_path / "payguru_token").write_text("short")
        env = environment(ULAK_CONFIG=str(path))
        told = ulak("check", env=env)
        machine = ulak("check", "--json", env=env)

        assert (told.returncode, machine.returncode) == (1, 1)
        assert told.stdout == machine.stderr == ""
        answer = orjson.loads(machine.stdout)
        assert answer["ok"] is False
        *faults, last = told.stderr.splitlines()
        assert faults == [f"ulak: {fault}" for fault in answer["faults"]]
        assert last == f"{len(faults)} fault(s); mend them and run `ulak check` again"
        for place in ("merchant_id", "published", "token", "routes[1] Bad Name name", "job", "speed"):
            assert any(place in fault for fault in faults), (place, faults)
        assert "short" not in told.stderr.replace("shorter", "")

    def test_says_where_it_looked_for_the_file(self, tmp_path: Path) -> None:
        done = ulak("check", env=environment(), cwd=tmp_path)

        assert done.returncode == 1
        assert done.stderr.startswith("ulak: ulak.toml: cannot be read (No such file or directory); ULAK_CONFIG names")

    def test_answers_with_json_where_there_is_no_fault(self, tmp_path: Path) -> None:
        done = ulak("check", "--json", env=environment(ULAK_CONFIG=str(write_config(tmp_path))))

        assert orjson.loads(done.stdout) == {"ok": True, "faults": []}


class TestProvidersAndExplain:
    def test_providers_lists_every_channel_and_scenario(self) -> None:
        told = ulak("providers", env=environment())
        machine = ulak("providers", "--json", env=environment())

        assert (told.returncode, machine.returncode) == (0, 0)
        (rows,) = json_lines(machine.stdout)
        for provider in PROVIDERS:
            for name in provider.scenarios:
                assert name in told.stdout
            for channel in provider.channels:
                address = f"/callbacks/{provider.name}/<slug>/{channel}"
                assert address in told.stdout
                assert any(row["address"].startswith(address) for row in rows)

    def test_explain_knows_every_word_that_it_may_be_asked_about(self) -> None:
        every = orjson.loads(ulak("explain", "--json", env=environment()).stdout)

        findings = [check.word for check in EVERY]
        assert sorted(every) == sorted((*REASONS, *TROUBLES, *WHY_NOT, *findings))
        assert {name for name, told in every.items() if told["status"]} == set(REASONS)
        assert [name for name, told in every.items() if not (told["meaning"] and told["remedy"])] == []

    def test_explain_tells_of_one_word(self) -> None:
        reason = ulak("explain", "bad_signature", env=environment())
        trouble = ulak("explain", "api_refused", env=environment())
        machine = ulak("explain", "api_refused", "--json", env=environment())

        assert (reason.returncode, trouble.returncode, machine.returncode) == (0, 0, 0)
        assert reason.stdout.startswith("bad_signature (403)\n")
        meaning, remedy = TROUBLES[Trouble.API_REFUSED]
        assert trouble.stdout == f"api_refused\n  {meaning}\n  {remedy}\n"
        assert orjson.loads(machine.stdout) == {"api_refused": {"status": None, "meaning": meaning, "remedy": remedy}}

    def test_explain_lists_the_kinds_of_words_apart(self) -> None:
        reasons, troubles, stays, findings = ulak("explain", env=environment()).stdout.split("\n\n")

        assert re.findall(r"^(\w+) \(\d{3}\)$", reasons, re.MULTILINE) == list(REASONS)
        assert re.findall(r"^(\w+)$", troubles, re.MULTILINE) == list(TROUBLES)
        assert re.findall(r"^(\w+)$", stays, re.MULTILINE) == list(WHY_NOT)
        assert re.findall(r"^(\w+)$", findings, re.MULTILINE) == [check.word for check in EVERY]


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["explain", "no_such_word"], "no reason is called 'no_such_word'"),
            (["simulate", "nobody", "success"], "no provider is called 'nobody'; there are payguru"),
            (["simulate", "paratika", "nothing"], "paratika has no scenario 'nothing'; there are success"),
            (["simulate", "paratika", "success", "--set", "amount"], "must be FIELD=VALUE"),
            (["simulate", "paratika", "success", "--account", "x"], "the configuration has for paratika: shop-tr"),
            (["simulate", "paratika", "success", "--count", "0"], "--count"),
            (["simulate", "paratika", "success", "--rate", "0"], "--rate"),
            (["events", "tail", "--last", "x"], "--last"),
            (["worker", "--processes", "0"], "--processes"),
            (["check", "--no-such-option"], "No such option"),
            (["no-such-command"], "No such command"),
        ],
    )
    def test_errors_end_with_2_and_a_sentence(
        self, receiver: Receiver, client: redis.Redis, words: list[str], sentence: str
    ) -> None:
        done = ulak(*words, env=receiver.env)

        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert queued(client) == 0


class TestSimulate:
    def test_sends_a_signed_callback_and_says_what_came_back(self, receiver: Receiver, client: redis.Redis) -> None:
        done = ulak("simulate", "paratika", "success", "--to", receiver.base, env=receiver.env)

        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"200  paratika success  ORDER-1001\d+  page\n", done.stdout)
        (event,) = events(client)
        assert event["type"] == "payment.succeeded"
        assert event["subject"] in done.stdout

    def test_sends_so_many_different_ones_and_each_so_many_times_more(
        self, receiver: Receiver, client: redis.Redis
    ) -> None:
        answers = simulate(receiver, "paynet", "success", "--count", "3", "--duplicate", "2", "--rate", "100")

        assert [one["status"] for one in answers] == [200] * 9
        assert [one["answer"] for one in answers] == ['{"ok":true}'] * 9
        assert queued(client) == 3
        assert {one["subject"] for one in events(client)} == {one["order"] for one in answers}

    @pytest.mark.parametrize(
        ("provider", "field"),
        [("paratika", "responseCode"), ("paratika", "sdSha512"), ("payguru-phs", "amount"), ("payguru-phs", "key")],
    )
    def test_tampers_after_signing_so_that_it_is_refused(
        self, receiver: Receiver, client: redis.Redis, provider: str, field: str
    ) -> None:
        (answer,) = simulate(receiver, provider, "success", "--tamper", field)

        assert answer["status"] == 403
        assert queued(client) == 0

    def test_sets_fields_before_signing(self, receiver: Receiver, client: redis.Redis) -> None:
        simulate(receiver, "paratika", "success", "--set", "merchantPaymentId=MINE=1", "--set", "amount=7.50")

        (event,) = events(client)
        assert event["subject"] == "MINE=1"
        assert event["data"]["amount"] == {"value": "7.50", "minor": 750, "currency": "TRY"}

    @pytest.mark.parametrize(
        ("provider", "scenario"),
        [(one.name, name) for one in PROVIDERS for name in list(one.scenarios)[:1]] + [("paynet", "return")],
    )
    def test_prints_a_curl_line_that_a_shell_can_run(
        self, receiver: Receiver, client: redis.Redis, provider: str, scenario: str
    ) -> None:
        done = ulak("simulate", provider, scenario, "--print", "--to", receiver.base, env=receiver.env)
        assert done.returncode == 0, done.stderr
        assert queued(client) == 0
        sent = subprocess.run(
            ["bash", "-c", done.stdout], capture_output=True, text=True, timeout=30, check=False, env=environment()
        )

        assert sent.stdout.startswith("HTTP/1.1 200 OK"), sent.stderr
        assert len(events(client)) == 1

    def test_every_scenario_of_every_provider_is_stored(self, receiver: Receiver, client: redis.Redis) -> None:
        settings = config.load(receiver.env)
        every = [(one.name, name) for one in PROVIDERS for name in one.scenarios]
        options = {"base": receiver.base, "slug": None, "count": 1, "rate": None, "duplicate": 0, "tamper": None}
        for provider, scenario in every:
            (answer,) = Sending.plan(settings, provider, scenario, options | {"changes": ()}).run()
            assert answer["status"] == 200, (provider, scenario, answer)

        assert len(events(client)) == len(every)

    def test_says_so_where_nobody_answers(self, receiver: Receiver) -> None:
        done = ulak("simulate", "paratika", "success", "--to", f"http://127.0.0.1:{free_port()}", env=receiver.env)

        assert done.returncode == 1
        assert "nobody answers at http://127.0.0.1:" in done.stderr

    def test_ends_with_1_where_the_receiver_could_not_keep_it(
        self, own_receiver: Receiver, own_redis: RedisServer
    ) -> None:
        (own_receiver.config.parent / "spool.db").mkdir()
        own_redis.kill()
        done = ulak("simulate", "paynet", "success", "--to", own_receiver.base, "--json", env=own_receiver.env)

        assert done.returncode == 1
        assert orjson.loads(done.stdout)["status"] == 503


class TestEvents:
    def test_tail_shows_the_newest_as_a_table_or_as_json(self, receiver: Receiver, client: redis.Redis) -> None:
        answers = simulate(receiver, "paratika", "success", "--count", "3")
        told = ulak("events", "tail", "--last", "2", env=receiver.env)
        machine = ulak("events", "tail", "--json", env=receiver.env)

        heading, *rows = told.stdout.splitlines()
        assert heading.split() == ["received", "event", "from", "order", "amount", "trust", "id"]
        assert [row.split()[3] for row in rows] == [one["order"] for one in answers[1:]]
        assert json_lines(machine.stdout) == events(client)

    def test_tail_follows_what_comes_and_ends_with_ctrl_c(
        self, receiver: Receiver, client: redis.Redis, tmp_path: Path
    ) -> None:
        simulate(receiver, "paratika", "success")
        log = tmp_path / "tail.log"
        argv = [str(BIN / "ulak"), "events", "tail", "--follow", "--json"]
        with background(argv, receiver.env, log) as process:
            until(lambda: log.read_text().count("\n") == 1, "the event of the past")
            simulate(receiver, "paynet", "success")
            until(lambda: log.read_text().count("\n") == 2, "the event that came")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0

        assert json_lines(log.read_text()) == events(client)

    def test_show_prints_one_event_whole_by_the_beginning_of_its_id(
        self, receiver: Receiver, client: redis.Redis
    ) -> None:
        simulate(receiver, "paratika", "success", "--count", "2")
        first, _ = events(client)
        shown = ulak("events", "show", first["id"][:12], env=receiver.env)

        assert shown.returncode == 0
        assert orjson.loads(shown.stdout) == first

    def test_show_prints_the_exact_request(self, receiver: Receiver, client: redis.Redis) -> None:
        address = f"/callbacks/payguru/shop-tr/transaction/{receiver.secret('payguru_token')}?txId=1&status=3&a=%C3%A7"
        assert call(receiver.port, address).status == 200
        (event,) = events(client)
        shown = ulak("events", "show", event["id"], "--request", env=receiver.env)

        assert shown.stdout.endswith("\nGET \n?txId=1&status=3&a=%C3%A7\n\n")
        assert receiver.secret("payguru_token") not in shown.stdout

    def test_quarantine_is_shown_with_the_exact_request(self, receiver: Receiver) -> None:
        address = f"/callbacks/paynet/shop-tr/confirmation/{receiver.secret('paynet_token')}"
        body = '{"referance_no": "Ü-1", "amount": "1e3"}'
        assert call(receiver.port, address, body.encode(), {"Content-Type": "application/json"}).status == 200
        (kept,) = json_lines(ulak("events", "tail", "--quarantine", "--json", env=receiver.env).stdout)

        assert (kept["provider"], kept["reason"]) == ("paynet", "unreadable_field")
        shown = ulak("events", "show", kept["digest"][:10], "--request", env=receiver.env)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.endswith(f"POST application/json\n?\n{body}\n")

    def test_refusals_are_shown_with_their_reason(self, receiver: Receiver) -> None:
        simulate(receiver, "paratika", "success", "--tamper", "random")
        told = ulak("events", "tail", "--refused", env=receiver.env)

        assert "reason=bad_signature" in told.stdout

    def test_that_nobody_has_is_told(self, receiver: Receiver) -> None:
        done = ulak("events", "show", "ffff", env=receiver.env)

        assert done.returncode == 1
        assert "begins with ffff" in done.stderr

    def test_without_redis_end_with_1_and_a_sentence(self, receiver: Receiver, tmp_path: Path) -> None:
        env = {**receiver.env, "REDIS_URL": f"unix://{tmp_path}/none.sock"}
        for words in (["tail"], ["show", "ffff"]):
            done = ulak("events", *words, env=env)

            assert done.returncode == 1
            assert "Redis does not answer" in done.stderr
            assert "Traceback" not in done.stderr


class TestWorker:
    def test_in_burst_empties_every_queue_and_ends(self, receiver: Receiver, client: redis.Redis) -> None:
        simulate(receiver, "payguru", "success", "--count", "3")
        done = ulak("worker", "--burst", env=receiver.env)

        assert done.returncode == 0, done.stderr
        assert [one["event"] for one in got(client)] == events(client)
        assert queued(client) == 0

    def test_in_burst_ends_with_1_where_redis_is_away(self, receiver: Receiver, tmp_path: Path) -> None:
        done = ulak("worker", "--burst", env={**receiver.env, "REDIS_URL": f"unix://{tmp_path}/none.sock"})

        assert done.returncode == 1

    def test_stops_its_processes_when_asked(self, receiver: Receiver, client: redis.Redis, tmp_path: Path) -> None:
        argv = [str(BIN / "ulak"), "worker", "--processes", "2"]
        with background(argv, receiver.env, tmp_path / "worker.log") as process:
            until(lambda: client.scard("rq:workers") == 2, "two workers")
            below = descendants(process.pid)
            process.terminate()
            assert process.wait(20) == 0

        assert not [pid for pid in below if alive(pid)]
        assert client.scard("rq:workers") == 0

    def test_starts_a_killed_process_again(self, receiver: Receiver, client: redis.Redis, tmp_path: Path) -> None:
        argv = [str(BIN / "ulak"), "worker"]
        with background(argv, receiver.env, tmp_path / "worker.log") as process:
            until(lambda: any(one["cmd"] == "blmove" for one in client.client_list()), "a worker waits")
            with ended(descendants(process.pid)):
                os.kill(worker_pid(client), signal.SIGKILL)
                until(lambda: client.scard("rq:workers") == 2, "another worker")
                simulate(receiver, "paynet", "success")
                until(lambda: len(got(client)) == 1, "the job has run", within=8)
            assert process.poll() is None


class TestUp:
    def test_demo_shows_every_provider_answers_and_leaves_nothing_behind(self) -> None:
        with short_folder() as folder:
            work, temporary = folder / "w", folder / "t"
            work.mkdir()
            temporary.mkdir()
            log = folder / "up.log"
            env = environment(TMPDIR=str(temporary))
            with background([str(BIN / "ulak"), "up", "--demo"], env, log, cwd=work) as process:
                until(lambda: "Ctrl-C stops" in log.read_text(), "the demo is through", within=60)
                text = log.read_text()
                found = re.search(r"ulak is up at (http://127\.0\.0\.1:(\d+)) \(logs in (.+)\)", text)
                assert found, text
                port, logs = int(found[2]), Path(found[3])
                assert logs.is_relative_to(temporary)
                self.assert_shown(text)
                assert call(port, "/readyz").status == 200
                self.assert_curl_lines_work(text, found[1])

                below = descendants(process.pid)
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0, log.read_text()

            assert log.read_text().endswith("stopped\n")
            assert len(below) >= 5
            assert not [pid for pid in below if alive(pid)]
            assert not list(temporary.iterdir())
            assert not list(work.iterdir())
            with pytest.raises(ConnectionRefusedError):
                speak(port, b"GET /healthz HTTP/1.0\r\n\r\n")

    def assert_shown(self, text: str) -> None:
        for provider in PROVIDERS:
            assert re.search(rf"^\d\d:\d\d:\d\d  \w+\.\w+ +{provider.name}/shop-tr ", text, re.MULTILINE), text
        counted = re.search(r"^(\d+) callbacks sent, (\d+) events received by workers$", text, re.MULTILINE)
        assert counted
        assert counted[1] == counted[2]
        assert "callback once more: 200, and no second event" in text
        assert re.search(r"one character of \w+ changed: 403, and no event", text)

    def assert_curl_lines_work(self, text: str, base: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.startswith("  curl ")]
        assert len(lines) == 3
        for line in lines:
            assert base in line
            sent = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, check=False)
            assert sent.stdout.startswith("HTTP/1.1 200 OK"), sent.stderr

    def test_stops_on_sigterm_too_while_it_starts(self) -> None:
        with short_folder() as folder:
            (folder / "t").mkdir()
            log = folder / "up.log"
            env = environment(TMPDIR=str(folder / "t"))
            with background([str(BIN / "ulak"), "up"], env, log, cwd=folder) as process:
                until(lambda: len(descendants(process.pid)) >= 2, "Redis and gunicorn are started")
                below = descendants(process.pid)
                process.terminate()
                code = process.wait(30)

            assert not [pid for pid in below if alive(pid)]
            assert not list((folder / "t").iterdir())
            assert code == 0, log.read_text()

    def test_says_what_is_wrong_with_the_configuration(self, tmp_path: Path) -> None:
        path = write_config(tmp_path)
        path.write_text(path.read_text().replace('merchant_id = "123"\n', ""))
        done = ulak("up", env=environment(ULAK_CONFIG=str(path)))

        assert done.returncode == 1
        assert "merchant_id" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        ("bind", "sentence"),
        [("8000", "must be HOST:PORT"), ("127.0.0.1:x", "must be HOST:PORT"), ("192.0.2.1:8000", "cannot listen on")],
    )
    def test_says_what_is_wrong_with_bind(
        self, redis_server: RedisServer, tmp_path: Path, bind: str, sentence: str
    ) -> None:
        done = ulak("up", "--bind", bind, env=redis_server.ulak(write_config(tmp_path)))

        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr

    def test_says_so_where_the_named_redis_is_away(self, tmp_path: Path) -> None:
        env = environment(ULAK_CONFIG=str(write_config(tmp_path)), REDIS_URL=f"unix://{tmp_path}/none.sock")
        done = ulak("up", env=env)

        assert done.returncode == 1
        assert "the Redis that REDIS_URL names does not answer" in done.stderr

    def test_keeps_its_data_beside_a_configuration_of_one_s_own(self) -> None:
        with short_folder() as folder:
            path = write_config(folder)
            env = environment(ULAK_CONFIG="ulak.toml")
            log = folder / "up.log"
            for _ in range(2):
                argv = [str(BIN / "ulak"), "up", "--bind", f"127.0.0.1:{free_port()}"]
                with background(argv, env, log, cwd=path.parent) as process:
                    until(lambda: "Ctrl-C stops" in log.read_text(), "it is up", within=30)
                    assert (folder / ".ulak" / "redis" / "redis.sock").is_socket()
                    process.send_signal(signal.SIGINT)
                    assert process.wait(30) == 0, log.read_text()
                log.unlink()

            assert (folder / ".ulak" / "redis" / "appendonly.aof").exists()
            assert not (folder / ".ulak" / "redis" / "redis.sock").exists()
