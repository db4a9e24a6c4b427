"""A browser token that is good for one order: it names that order, and nothing else passes for it."""

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from receiver import browser
from receiver.account import Secret
from receiver.cli import main
from receiver.errors import Unverified
from receiver.event import Trust
from receiver.message import Level
from receiver.ports import Channel, Provider, Token
from receiver.providers import BY_NAME, PROVIDERS
from receiver.signing import hex_hmac_sha256
from tests.accounts import ACCOUNTS, BROWSER_TOKEN, OLD_TOKEN, TOKEN, account_of
from tests.config_files import ENV, PARATIKA, PAYNET
from tests.desk import FORM, Desk
from tests.lines import Lines, unheard
from tests.samples import Vector, readable

KEY = BROWSER_TOKEN.encode()
DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"
CHANNELS = [(provider, channel) for provider in PROVIDERS for channel in provider.channels.values()]
VECTORS = [one for one in readable() if BY_NAME[one.provider].channels[one.channel].token is Token.BROWSER]
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=str)
browser_channels = pytest.mark.parametrize(
    ("provider", "channel"),
    [(provider, channel) for provider, channel in CHANNELS if channel.token is Token.BROWSER],
    ids=lambda one: one.name,
)
other_channels = pytest.mark.parametrize(
    ("provider", "channel"),
    [(provider, channel) for provider, channel in CHANNELS if channel.token is not Token.BROWSER],
    ids=lambda one: one.name,
)
# Made by `openssl dgst -sha256 -hmac docs-browser-token-0123456789` and `openssl base64`.
KNOWN = {
    "ORDER-1": "T1JERVItMQ.9075e706e57710392489048bac39cc51f52971c21670265f0b2dfef51a87d3fb",
    "SİPARİŞ.1": "U8SwUEFSxLDFni4x.5e7a6dbb1cdad543cf18c7e1bffb4c2a08df107631be176a09f8dc59aa5e317c",
}
GOOD = browser.order_token(KEY, "ORDER-1")
MAC = GOOD.partition(".")[2]


def encoded(order: bytes) -> str:
    return base64.urlsafe_b64encode(order).decode().rstrip("=")


def self_made(order: bytes) -> str:
    """Return a token with a true HMAC of an order that ``order_token`` would not make one for."""
    return f"{encoded(order)}.{hex_hmac_sha256(KEY, b'browser order:' + order)}"


WRONG = (
    *(
        "",
        ".",
        "..",
        f".{MAC}",
        f"{encoded(b'ORDER-1')}.",
        encoded(b"ORDER-1"),
        MAC,
        f"{GOOD}.",
        f".{GOOD}",
        f"{GOOD}.",
    ),
    *(f"{GOOD}=", GOOD.replace(".", "=="), GOOD.replace(".", "="), GOOD.replace(".", ".."), f"ORDER-1.{MAC}"),
    *(GOOD.upper(), GOOD.replace(MAC, MAC.upper()), f" {GOOD}", f"{GOOD}\n", f"{GOOD}\x00", GOOD * 2, GOOD[::-1]),
    *(
        f"{encoded(b'ORDER-2')}.{MAC}",
        f"é.{MAC}",
        f"a.{MAC}",
        f"ab?.{MAC}",
        f"{'A' * 4000}.{MAC}",
        f"T1JERVItMQ.{'é' * 64}",
    ),
    browser.order_token(TOKEN.encode(), "ORDER-1"),
    browser.order_token(b"browser-token-of-another", "ORDER-1"),
    *map(
        self_made, (b"", b" ", b" A", b"A\n", b"A\x00B", b"\xff\xfe", b"\xed\xa0\x80", b"A" * 129, "é".encode() * 129)
    ),
    "T1JERVItMR." + MAC,  # the same bytes in base64, with bits set that nobody reads
)


@cache
def orders() -> dict[str, str | None]:
    """Return the order that each callback names by itself."""
    found = {}
    with unheard():
        for vector in VECTORS:
            desk = vector.desk()
            vector.send(desk)
            found[str(vector)] = desk.sink.events[0].says.order_ref
    return found


def order_of(vector: Vector) -> str | None:
    return orders()[str(vector)]


def send(vector: Vector, desk: Desk, order: str) -> Any:
    return replace(vector, token=browser.order_token(KEY, order)).send(desk)


def naming() -> list[Vector]:
    return [vector for vector in VECTORS if order_of(vector)]


def silent() -> Iterator[Vector]:
    """Yield callbacks that name no order: as they are, or with the field that names it left out."""
    for vector in VECTORS:
        order = order_of(vector)
        named = [name for name, value in vector.fields.items() if value == order]
        if order is None or named:
            yield vector.changed(**dict.fromkeys(named))


class TestTheToken:
    def test_another_tool_makes_the_same(self) -> None:
        for order, token in KNOWN.items():
            assert token == browser.order_token(b"docs-browser-token-0123456789", order)

    def test_the_formula_of_the_documentation_makes_the_same(self) -> None:
        text = DOCS.read_text("utf-8")
        (block,) = re.findall(r"^```python\n(.*?def order_token.*?)^```", text, re.MULTILINE | re.DOTALL)
        made: dict[str, Any] = {}
        exec(block, made)  # noqa: S102 - our own documentation

        for order, token in KNOWN.items():
            assert token == made["order_token"]("docs-browser-token-0123456789", order)
        assert KNOWN["ORDER-1"] in text

    @pytest.mark.parametrize("order", ["", " ", " A", "A ", "A\n", "A\x00B", "A\x85B", "A" * 129, "\ud800"])
    def test_an_order_that_no_callback_could_name_has_none(self, order: str) -> None:
        with pytest.raises(ValueError, match="an order has 1 to 128 characters"):
            browser.order_token(KEY, order)

    def test_an_empty_secret_makes_none(self) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            browser.order_token(b"", "A")

    @given(st.text(max_size=130))
    @example("A.B")
    @example("browser order:")
    @example("😀" * 128)
    def test_it_proves_its_own_order_and_fits_into_a_url(self, order: str) -> None:
        try:
            token = browser.order_token(KEY, order)
        except ValueError:
            return
        secret, proved = browser.proven((Secret("env:A", b"another-token-0123456"), Secret("env:B", KEY)), token)

        assert ("env:B", order) == (secret.key_id, proved)
        assert re.fullmatch(r"[A-Za-z0-9_-]{2,684}\.[0-9a-f]{64}", token)

    @given(st.sampled_from(["A", "AB", "ABC", "SİPARİŞ.1", "ORDER-4001"]), st.data())
    def test_a_change_of_any_character_is_refused(self, order: str, data: st.DataObject) -> None:
        token = browser.order_token(KEY, order)
        at = data.draw(st.integers(0, len(token) - 1))
        put = data.draw(st.one_of(st.sampled_from("AQgw0z-_.=+/"), st.characters(), st.just("")))
        changed = token[:at] + put + token[at + data.draw(st.integers(0, 1)) :]
        if changed != token:
            with pytest.raises(Unverified):
                browser.proven((Secret("env:A", KEY),), changed)

    def test_no_single_sign_can_be_another(self) -> None:
        signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="
        for token in (browser.order_token(KEY, order) for order in ("A", "AB", "ABC")):
            for at, sign in enumerate(token):
                for put in signs.replace(sign, ""):
                    with pytest.raises(Unverified):
                        browser.proven((Secret("env:A", KEY),), token[:at] + put + token[at + 1 :])

    @given(st.text())
    def test_any_other_text_is_refused_and_never_a_crash(self, text: str) -> None:
        for given_text in (text, f"{text}.{MAC}", f"{encoded(text.encode('utf-8', 'surrogatepass'))}.{MAC}"):
            if given_text != GOOD:
                with pytest.raises(Unverified):
                    browser.proven((Secret("env:A", KEY),), given_text)

    def test_a_fixed_token_may_hold_a_dot(self) -> None:
        fixed = Secret("env:A", b"browser.token.0123456789")

        assert (fixed, "") == browser.proven((fixed,), "browser.token.0123456789")
        assert (fixed, "A") == browser.proven((fixed,), browser.order_token(fixed.value, "A"))


class TestTheAddress:
    @every_vector
    def test_the_token_of_its_order_makes_the_same_fact(self, vector: Vector) -> None:
        fixed, own = vector.desk(), vector.desk()
        order = order_of(vector) or "SİPARİŞ 7/1"
        first, second = vector.send(fixed), send(vector, own, order)
        (before,), (after,) = fixed.sink.events, own.sink.events

        assert first.status_code == second.status_code
        assert replace(before.says, order_ref=order) == after.says
        assert (before.id, before.raw, before.custom) == (after.id, after.raw, after.custom)
        assert before.trust == after.trust == Trust(Level.CLAIMED)

    @every_vector
    def test_a_redelivery_by_either_token_is_a_duplicate(self, vector: Vector) -> None:
        desk = vector.desk()
        order = order_of(vector) or "ORDER-7"
        for _ in range(2):
            send(vector, desk, order)
            vector.send(desk)

        assert [callback[3] for callback in desk.metrics.callbacks] == ["accepted", *["duplicate"] * 3]

    @pytest.mark.parametrize("vector", naming(), ids=str)
    def test_a_callback_of_another_order_is_refused_like_a_forged_one(self, vector: Vector, logged: Lines) -> None:
        desk = vector.desk()
        order = order_of(vector) or ""
        for other in (f"{order}0", order[:-1], order.swapcase() + "A", "ORDER-OTHER"):
            answer = send(vector, desk, other)
            assert (answer.status_code, desk.reason) == (403, "bad_signature")
            assert f"bad_signature · {answer.headers['X-Request-Id']}" in answer.text
            assert (desk.outcome, logged[-1]["level"]) == ("refused", "warning")
        assert desk.sink.kept == 0
        assert set(desk.sink.refused) == {(vector.provider, "shop", vector.channel, "bad_signature")}

    @pytest.mark.parametrize("vector", list(silent()), ids=str)
    def test_a_callback_that_names_no_order_gets_the_one_of_the_address(self, vector: Vector) -> None:
        plain, desk = vector.desk(), vector.desk()
        vector.send(plain)
        answer = send(vector, desk, "ORDER-77")

        assert plain.says["data"]["order_ref"] is None
        assert (desk.says["data"]["order_ref"], desk.says["id"]) == ("ORDER-77", plain.says["id"])
        if answer.status_code == 303:
            assert parse_qs(answer.headers["Location"])["order"] == ["ORDER-77"]

    @browser_channels
    def test_every_channel_of_a_browser_has_both(self, provider: Provider, channel: Channel) -> None:
        for found in (naming(), list(silent())):
            assert [one for one in found if (one.provider, one.channel) == (provider.name, channel.name)]

    @browser_channels
    def test_a_wrong_one_is_404_whatever_else_is_wrong(self, provider: Provider, channel: Channel, desk: Desk) -> None:
        where = provider.name, channel.name
        base = f"/callbacks/{provider.name}/{{}}/{channel.name}/"
        told = {self._told(desk, base.format("none") + GOOD)}
        told |= {self._told(desk, base.format("shop") + token) for token in WRONG}
        huge = b"x" * 100_000
        statuses = [
            desk.send(*where, token=token, method=method, data=huge, content_type="text/plain").status_code
            for token in (WRONG[-1], GOOD)
            for method in ("PUT", "POST")
        ]

        assert len(told) == 1
        assert statuses == [404, 404, 405, 415]
        assert desk.send(*where, token=GOOD, data=huge, content_type=FORM).status_code == 413
        assert desk.sink.kept == 0

    @staticmethod
    def _told(desk: Desk, path: str) -> str:
        """Send exactly this path, as latin-1 the way WSGI has it; return the answer without its request id."""
        exact = {"PATH_INFO": path.encode().decode("latin-1"), "REQUEST_METHOD": "POST"}
        answer = desk.client.open("/", method="POST", environ_overrides=exact)
        assert answer.status_code == 404
        return f"{answer.status}\n{answer.headers}\n{answer.text}".replace(answer.headers["X-Request-Id"], "ID")

    @other_channels
    def test_no_other_channel_takes_one(self, provider: Provider, channel: Channel) -> None:
        account = replace(ACCOUNTS[provider.name], browser_tokens=(Secret("env:BROWSER_TOKEN", KEY),))
        for tokens in (account.tokens, (Secret("env:TOKEN", TOKEN.encode()),)):
            desk = Desk((replace(account, tokens=tokens),))
            for secret in (TOKEN, OLD_TOKEN, BROWSER_TOKEN):
                token = browser.order_token(secret.encode(), "ORDER-1")
                assert desk.send(provider.name, channel.name, token=token).status_code == 404

    @browser_channels
    def test_any_rotating_token_is_taken_and_named_fixed_or_for_one_order(
        self, provider: Provider, channel: Channel, logged: Lines
    ) -> None:
        vector = next(one for one in VECTORS if (one.provider, one.channel) == (provider.name, channel.name))
        order = order_of(vector) or "ORDER-7"
        new, old = Secret("env:NEW", b"browser-token-of-next-year"), Secret("env:OLD", KEY)
        desk = Desk((account_of(provider.name, browser_tokens=(new, old)),))
        for secret in (new, old):
            replace(vector, token=browser.order_token(secret.value, order)).send(desk)
            replace(vector, token=secret.value.decode()).send(desk)

        assert [line["key_id"] for line in logged] == ["env:NEW", "env:NEW", "env:OLD", "env:OLD"]
        assert [line["outcome"] for line in logged] == ["accepted", *["duplicate"] * 3]

    @every_vector
    def test_it_is_told_by_no_answer_log_or_event(self, vector: Vector, logged: Lines) -> None:
        desk = vector.desk()
        order = order_of(vector) or "ORDER-7"
        token = browser.order_token(KEY, order)
        answers = [send(vector, desk, order), desk.send(vector.provider, vector.channel, token=f"{token}0")]
        told = [repr(logged), repr(desk.sink), repr(desk.metrics), *(f"{one.headers}{one.text}" for one in answers)]
        told += [event.to_json().decode() for event in desk.sink.events]

        assert [text for text in told if token.partition(".")[2] in text] == []


class TestTheCommand:
    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        path = tmp_path / "ulak.toml"
        path.write_text(PAYNET + PARATIKA, "utf-8")
        return {**ENV, "ULAK_CONFIG": str(path)}

    def run(self, env: dict[str, str], *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["url", *words], env=env)
        return done.exit_code, done.output

    def test_it_prints_the_path_that_the_receiver_takes(self, env: dict[str, str]) -> None:
        assert self.run(env, "paynet", "return", "--order", "ORDER-1") == (0, f"/callbacks/paynet/shop/return/{GOOD}\n")
        for words, path in (
            (("paynet", "return"), f"paynet/shop/return/{BROWSER_TOKEN}"),
            (("paynet", "refund", "--account", "shop"), f"paynet/shop/refund/{TOKEN}"),
            (("paratika", "return"), "paratika/shop/return"),
        ):
            assert self.run(env, *words) == (0, f"/callbacks/{path}\n")

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("none", "return"), "no provider is called"),
            (("paynet", "none"), "there are confirmation, refund, return"),
            (("paynet", "return", "--account", "none"), "the configuration has for paynet: shop"),
            (("paynet", "refund", "--order", "A"), "has no browser_token"),
            (("paratika", "return", "--order", "A"), "has no browser_token"),
            (("paynet", "return", "--order", ""), "an order has 1 to 128 characters"),
        ],
    )
    def test_what_cannot_be_made_is_a_wrong_use(self, words: tuple[str, ...], told: str, env: dict[str, str]) -> None:
        status, output = self.run(env, *words)

        assert (status, told in output) == (2, True)
        assert BROWSER_TOKEN not in output
