"""
What holds for any bytes: no status of 500 or more, and nothing unauthentic is kept.

The mutations come from a seeded generator, so that a failure can be repeated: its message names seed and request.
"""

import json
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.errors import Malformed, Quarantined
from receiver.message import decode_json, decode_pairs
from receiver.money import EXPONENTS, Money
from receiver.redact import scrub
from receiver.schema import moment, money
from tests import proof
from tests.desk import Desk
from tests.lines import unheard
from tests.mutations import Sent, mutated, sent_of, signed_values
from tests.samples import PROOF, SIGNED, Vector, readable

EACH = 5_000  # mutated requests for each of 11 channels


def answer(desk: Desk, sent: Sent) -> int:
    """Send exactly these bytes, which the test client's own arguments would mend."""
    exact = {
        "PATH_INFO": sent.path,
        "REQUEST_METHOD": sent.method,
        "QUERY_STRING": sent.query.decode("latin-1"),
        "CONTENT_TYPE": sent.content_type,
    }
    return desk.client.open("/", method="POST", data=sent.body, environ_overrides=exact).status_code


@cache
def channels() -> dict[tuple[str, str], list[Vector]]:
    found: dict[tuple[str, str], list[Vector]] = {}
    for vector in readable():
        if not vector.account:
            found.setdefault((vector.provider, vector.channel), []).append(vector)
    return found


@pytest.mark.parametrize("key", channels(), ids="-".join)
def test_no_mutation_is_a_500_and_none_changes_what_is_covered(key: tuple[str, str]) -> None:
    desk = Desk()
    with unheard():
        for seed in range(EACH):
            rng = random.Random(f"{key}{seed}")
            vector = rng.choice(channels()[key])
            original = sent_of(vector)
            sent = mutated(original, rng)
            before, counted = desk.sink.kept, len(desk.metrics.callbacks)
            status = answer(desk, sent)
            told = f"seed {seed}: {sent}"

            assert status < 500, told
            stored = len(desk.metrics.callbacks) > counted and desk.outcome in {"accepted", "duplicate", "quarantined"}
            assert stored or desk.sink.kept == before, told
            if status < 400:
                assert stored, told
                assert sent.path.strip("/") == original.path.strip("/"), told
                if vector.provider in SIGNED:
                    assert signed_values(vector.provider, original) == signed_values(vector.provider, sent), told
            else:
                assert not stored, told


def test_enough_is_mutated() -> None:
    assert len(channels()) * EACH >= 20_000
    assert len(channels()) == 11


@pytest.mark.parametrize("provider", sorted(SIGNED))
def test_nothing_without_the_secret_is_kept(provider: str) -> None:
    """Every field random, the hash of the right form: nobody guesses it."""
    desk = Desk()
    rng = random.Random(provider)
    for _ in range(300):
        vector = rng.choice(readable(provider))
        fields = {name: f"{rng.getrandbits(40):x}" for name in SIGNED[provider]}
        digest = proof.expected(provider, [*fields.values(), "wrong"])
        desk_vector = vector.changed(**fields, **{PROOF[provider]: digest})
        assert desk_vector.send(desk).status_code in {400, 403}
    assert desk.sink.kept == 0


quick = settings(deadline=None, derandomize=True, database=None, max_examples=300)


@quick
@given(st.binary(max_size=300))
def test_any_query_is_read_or_malformed(raw: bytes) -> None:
    try:
        pairs = decode_pairs(raw, ("utf-8",))
    except Malformed:
        return
    assert len(pairs) <= raw.count(b"&") + 1
    for name, value in pairs:
        (name + value).encode()


@quick
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: json.dumps({"a": text}).encode()))
def test_any_json_is_read_or_malformed(raw: bytes) -> None:
    try:
        fields = decode_json(raw, "utf-8")
    except Malformed:
        return
    json.dumps(fields, ensure_ascii=False).encode()


@quick
@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(EXPONENTS)))
def test_money_is_written_and_read_without_a_loss(minor: int, currency: str) -> None:
    amount = Money(minor, currency)

    assert Money.parse(amount.value, currency) == amount


@quick
@given(st.text(max_size=40), st.text(max_size=5))
def test_any_amount_is_read_or_quarantined(text: str, currency: str) -> None:
    try:
        found = money(text, currency)
    except Quarantined:
        return
    assert found is None or found.minor >= 0


@quick
@given(st.text(max_size=40) | st.datetimes().map(str) | st.integers().map(str))
def test_any_time_is_read_or_none(text: str) -> None:
    found = moment(text)

    assert found is None or found.at.tzinfo is not None


@quick
@given(st.text(max_size=100))
def test_scrubbing_takes_digits_only(text: str) -> None:
    if "[card]" not in scrub(text):
        assert scrub(text) == text
