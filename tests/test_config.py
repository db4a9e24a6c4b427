"""One file, every fault at once, and no secret in any of them."""

from pathlib import Path
from typing import Any

import pytest
from marshmallow import fields

from receiver import config
from receiver.account import Confirm
from receiver.errors import ConfigError
from receiver.message import Level
from receiver.ports import Provider, Target
from receiver.providers import PROVIDERS
from tests.accounts import SANDBOX
from tests.config_files import ENV, PARATIKA, PAYGURU, PAYNET, PHS, REFUSED, ROUTE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ulak.toml"


def load(path: Path, text: str, **environ: str) -> config.Settings:
    path.write_text(text, "utf-8")
    return config.load({**ENV, "ULAK_CONFIG": str(path), **environ})


def faults(path: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path, text, **environ)
    told = str(caught.value)
    assert [secret for secret in ENV.values() if secret and secret in told] == []
    assert told == "\n".join(caught.value.faults)
    return caught.value.faults


def only_fault(path: Path, text: str, **environ: str) -> str:
    (fault,) = faults(path, text, **environ)
    return fault


def test_the_smallest_configuration_is_enough(path: Path) -> None:
    settings = load(path, PARATIKA)
    account = settings.accounts["paratika", "shop"]

    assert settings.routes == (config.DEFAULT_ROUTE,)
    assert (settings.redis_url, settings.data) == (config.DEFAULT_REDIS, path.parent / ".ulak")
    assert (settings.dedupe_days, settings.events_keep, settings.data_keys) == (30, 24 * 3600, ())
    assert account.options == {"session": "sale", "currency": "TRY", "brand": "paratika"}
    assert [(secret.key_id, secret.value) for secret in account.secrets] == [("env:SANDBOX", SANDBOX.encode())]
    assert (account.confirm, account.clear_personal, account.custom) == (Confirm.NEVER, False, frozenset())


def test_the_environment_names_file_redis_and_folder(path: Path) -> None:
    settings = load(path, PARATIKA, REDIS_URL="redis://:pass@r:1/2", ULAK_DATA="/somewhere")

    assert (settings.redis_url, settings.data) == ("redis://:pass@r:1/2", Path("/somewhere"))
    assert "pass" not in repr(settings)
    assert config.locate({}) == Path("ulak.toml")
    assert config.data_folder({"ULAK_DATA": "/x"}) == Path("/x")
    assert config.data_folder({"ULAK_CONFIG": "/etc/ulak.toml"}) == Path("/etc/.ulak")


def test_a_file_that_is_not_there_is_a_fault_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ULAK_CONFIG names the file"):
        config.load({"ULAK_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("raw", [b"accounts = [", b"\xff\xfe", b'a = "\xed\xa0\x80"', b"own-secret-of-the-merchant"])
def test_a_file_that_is_no_toml_is_a_fault(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="is no TOML") as caught:
        config.load({"ULAK_CONFIG": str(path)})
    assert ENV["OWN"] not in str(caught.value)


def test_secrets_may_rotate_and_may_come_from_files(path: Path) -> None:
    (path.parent / "old").write_bytes(b"own-secret-of-last-year\r\n")
    settings = load(path, PARATIKA.replace('["env:SANDBOX"]', '["env:OWN", "file:old"]'))
    secrets = settings.accounts["paratika", "shop"].secrets

    assert [secret.value for secret in secrets] == [ENV["OWN"].encode(), ENV["OLD"].encode()]
    assert [secret.key_id for secret in secrets] == ["env:OWN", "file:old"]


def test_two_keys_are_joined_in_the_order_of_the_hash_whatever_their_order_in_the_file(path: Path) -> None:
    account = load(path, PHS).accounts["payguru-phs", "shop"]

    assert account.secrets[0].value == b"MERCHANTKEYSERVICEKEY"
    assert account.options == {"merchant_id": "123", "service_code": "XXX", "accept": [3, 6]}


def test_tokens_may_rotate(path: Path) -> None:
    account = load(path, PAYGURU).accounts["payguru", "shop"]

    assert [token.key_id for token in account.tokens] == ["env:TOKEN", "env:TOKEN2"]


def test_an_api_turns_confirmation_on_and_its_secret_is_resolved(path: Path) -> None:
    api = '[accounts.api]\nbase_url = "https://api.example"\nsecret_key = "env:API"\n'
    account = load(path, PAYNET + api).accounts["paynet", "shop"]

    assert account.confirm is Confirm.UNPROVEN
    assert account.api["secret_key"].value == ENV["API"].encode()
    assert ENV["API"] not in repr(account)
    assert load(path, PAYNET + 'confirm = "never"\n' + api).accounts["paynet", "shop"].confirm is Confirm.NEVER


def test_credentials_of_a_live_account_do_not_go_in_clear(path: Path) -> None:
    api = '[accounts.api]\nbase_url = "{}"\nsecret_key = "env:API"\n'
    live = 'data_key = "env:DATA"\n' + PAYNET.replace("test = true\n", "")

    assert "must be https" in only_fault(path, live + api.format("http://api.example"))
    for allowed in ("https://api.example", "http://127.0.0.1:9"):
        assert load(path, live + api.format(allowed)).accounts["paynet", "shop"].api


def test_an_api_without_credentials_may_be_plain_http(path: Path) -> None:
    api = '[accounts.api]\nbase_url = "http://api.example"\nmerchant_id = "1"\nservice_id = "2"\n'
    live = 'data_key = "env:DATA"\n' + PAYGURU.replace("test = true\n", "")

    assert load(path, live + api).queues == ("events", "ulak-confirm", "ulak-ask")


def test_the_queue_of_our_own_questions_is_no_route_s(path: Path) -> None:
    assert "our own questions" in only_fault(path, PARATIKA + ROUTE + 'queue = "ulak-confirm"\n')


def test_personal_data_and_own_keys_are_the_accounts_choice(path: Path) -> None:
    account = load(path, PARATIKA + 'personal = "clear"\ncustom = ["basket"]\n').accounts["paratika", "shop"]

    assert account.clear_personal
    assert account.custom == {"basket"}


def test_a_live_account_has_a_data_key_and_a_name_for_subscribers(path: Path) -> None:
    live = PARATIKA.replace("test = true\n", "").replace("SANDBOX", "OWN")
    settings = load(path, 'data_key = "env:DATA"\n' + live)

    assert settings.data_keys == (bytes.fromhex(ENV["DATA"]),)
    assert settings.accounts["paratika", "shop"].pseudonym_key
    assert only_fault(path, live).startswith("data_key: is required")
    assert only_fault(path, 'data_key = "env:BADDATA"\n' + live).startswith("data_key: must be 32 bytes")


def test_a_route_is_read(path: Path) -> None:
    text = PARATIKA + ROUTE + 'kinds = ["payment.*"]\nmin_trust = "signed"\ncovers = ["status"]\ntest = "test"\n'
    (route,) = load(path, text).routes

    assert route.target == Target("orders", "orders", "shop.tasks.on_payment")
    assert (route.kinds, route.min_trust, route.covers, route.test) == (
        ("payment.*",),
        Level.SIGNED,
        frozenset({"status"}),
        "test",
    )


@pytest.mark.parametrize(("text", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_configuration_is_refused(path: Path, text: str, words: str) -> None:
    assert any(words in fault for fault in faults(path, text)), faults(path, text)


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: str(provider.name))
@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0"])
def test_a_required_text_of_a_provider_is_never_blank(provider: Provider, blank: str) -> None:
    schemas = provider.settings.account, provider.settings.api
    texts = [(schema, name) for schema in schemas for name, one in schema.fields.items() if _is_text(one)]

    assert texts
    for schema, name in texts:
        told = schema.validate({name: blank})
        assert (name, 1) == (name, len(told.get(name, ())))
        assert "Missing" not in repr(told[name])


def _is_text(one: fields.Field[Any]) -> bool:
    return isinstance(one, fields.String) and one.required


def test_an_account_with_a_blank_number_is_refused_and_blanks_around_one_are_taken_off(path: Path) -> None:
    api = '[accounts.api]\nbase_url = "https://api.example"\nserver_ip = "{}"\n'

    assert only_fault(path, PHS + api.format(" ")) == "accounts[0] payguru-phs/shop api.server_ip: must not be empty"
    assert only_fault(path, PHS.replace('"123"', '""')).endswith("merchant_id: must not be empty")
    account = load(path, PHS.replace('"123"', '" 123 "') + api.format("10.0.0.7 ")).accounts["payguru-phs", "shop"]
    assert (account.options["merchant_id"], account.api["server_ip"]) == ("123", "10.0.0.7")


def test_every_fault_is_told_at_once_with_its_place(path: Path) -> None:
    text = (
        "x = 1\n"
        + PARATIKA.replace("SANDBOX", "NOWHERE")
        + PAYNET.replace("env:TOKEN", "env:SHORT")
        + "y = 2\n"
        + ROUTE
        + "z = 3\n"
    )
    told = faults(path, text)

    assert [fault.partition(":")[0] for fault in told if "Unknown" in fault] == [
        "x",
        "accounts[1] paynet/shop y",
        "routes[0] orders z",
    ]
    assert any(fault.startswith("accounts[0] paratika/shop secrets[0]: environment variable NOWHERE") for fault in told)


def test_a_fault_brings_no_fault_that_is_none(path: Path) -> None:
    live = PARATIKA.replace("test = true\n", "").replace("SANDBOX", "OWN")

    assert only_fault(path, 'data_key = "env:DATA"\nx = 1\n' + live) == "x: Unknown field."


@pytest.mark.parametrize("address", ["localhost:6379", "http://r", "redis://r:0", "redis://r:x/0"])
def test_an_address_of_no_redis_is_a_fault(path: Path, address: str) -> None:
    assert only_fault(path, PARATIKA, REDIS_URL=address).startswith("REDIS_URL: is no address of a Redis")


def test_sentinels_may_stand_for_redis_and_a_fault_among_them_names_no_password(path: Path) -> None:
    settings = load(path, PARATIKA, REDIS_URL="redis+sentinel://:pass@a,b,c/m")

    assert "pass" not in repr(settings)
    told = only_fault(path, PARATIKA, REDIS_URL="redis+sentinel://:pass@a,b,c")
    assert told.startswith("REDIS_URL: names no master")
    assert "pass@" not in told


def test_replicas_are_waited_for_where_that_is_wanted(path: Path) -> None:
    assert load(path, PARATIKA).wait_replicas == 0
    assert load(path, "wait_replicas = 2\n" + PARATIKA).wait_replicas == 2
    assert only_fault(path, "wait_replicas = -1\n" + PARATIKA).startswith("wait_replicas: Must be")
    assert only_fault(path, "wait_replicas = true\n" + PARATIKA).startswith("wait_replicas: Not a valid integer")


def test_a_slug_may_be_used_once_by_each_provider(path: Path) -> None:
    assert len(load(path, PARATIKA + PAYNET + PHS).accounts) == 3


def test_a_marker_that_lives_for_ever_outlives_any_hold(path: Path) -> None:
    assert load(path, "dedupe_days = 0\n" + PARATIKA + 'confirm_for = "400 d"\n').dedupe_days == 0


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90), ("90min", 5400), ("5 m", 300), ("24 h", 86400), ("30d", 2592000)]
)
def test_a_span_has_a_unit(path: Path, text: str, seconds: int) -> None:
    assert load(path, f'events_keep = "{text}"\n' + PARATIKA).events_keep == seconds


def test_settings_show_no_secret(path: Path) -> None:
    settings: Any = load(path, 'data_key = "env:DATA"\nmetrics_token = "env:TOKEN2"\n' + PARATIKA + PAYNET + PHS)

    assert settings.metrics_token.value == ENV["TOKEN2"].encode()
    shown = repr(settings)
    assert [name for name, secret in ENV.items() if secret and secret in shown] == []
    assert repr(bytes.fromhex(ENV["DATA"])) not in shown


@pytest.mark.parametrize(("text", "size"), [("1024 KiB", 1 << 20), ("64MiB", 64 << 20), ("2 GiB", 2 << 30)])
def test_a_size_is_written_as_people_write_it(path: Path, text: str, size: int) -> None:
    assert load(path, f'spool_max = "{text}"\n' + PARATIKA).spool_max == size
