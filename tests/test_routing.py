"""Which routes take an event."""

from dataclasses import replace
from typing import Any

import pytest

from receiver.account import Account, Secret
from receiver.event import Kind, Verdict
from receiver.message import Level
from receiver.ports import Target
from receiver.routing import Route, targets, unrouted
from tests.facts import event_of

TARGET = Target("r", "q", "a.b")


def takes(event: Any, **route: Any) -> bool:
    return Route(TARGET, **route).takes(event)


def test_a_plain_route_takes_all_but_claims() -> None:
    assert all(takes(event_of(kind)) for kind in Kind)
    assert takes(event_of(level=Level.ROUTE))
    assert not takes(event_of(level=Level.CLAIMED))
    assert takes(event_of(level=Level.CLAIMED), min_trust=Level.CLAIMED)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("*",), True),
        (("payment.*",), True),
        (("payment.succeeded",), True),
        (("payment.failed", "payment.succeeded"), True),
        (("payment.failed",), False),
        (("subscription.*",), False),
        ((), False),
    ],
)
def test_a_route_may_name_kinds_and_families(kinds: tuple[str, ...], expected: bool) -> None:  # noqa: FBT001
    assert takes(event_of(), kinds=kinds) is expected


def test_a_route_may_name_providers_and_accounts() -> None:
    assert takes(event_of(), providers=("paynet", "paratika"), accounts=("shop",))
    assert not takes(event_of(), providers=("paynet",))
    assert not takes(event_of(), accounts=("other",))


def test_a_route_may_take_live_or_test_only() -> None:
    answers = [
        [takes(event_of(test=test), test=wanted) for test in (False, True)] for wanted in ("live", "test", "both")
    ]

    assert answers == [[True, False], [False, True], [True, True]]


def test_a_route_may_want_more_trust() -> None:
    levels = (Level.CLAIMED, Level.ROUTE, Level.SIGNED, Level.CONFIRMED)

    assert [takes(event_of(level=level), min_trust=Level.SIGNED) for level in levels] == [False, False, True, True]


def test_a_route_may_want_fields_to_be_covered() -> None:
    assert takes(event_of(covers=("status", "amount")), covers=frozenset({"status", "amount"}))
    assert not takes(event_of(covers=("status",)), covers=frozenset({"status", "amount"}))


def test_a_route_may_choose_verdicts_and_what_has_none_is_called_none() -> None:
    verdicts = (*Verdict, None)
    events = [replace(event_of(), expected=verdict) for verdict in verdicts]

    taken = {wanted: [event.expected for event in events if takes(event, verdicts=wanted)] for wanted in CHOICES}
    assert taken == {
        frozenset(): list(verdicts),
        frozenset({"match"}): [Verdict.MATCH],
        frozenset({"none"}): [None],
        frozenset({"none", "match"}): [Verdict.MATCH, None],
    }


CHOICES = (frozenset[str](), frozenset({"match"}), frozenset({"none"}), frozenset({"none", "match"}))
SILENT = Account("paratika", "shop", test=True)
ANNOUNCING = replace(SILENT, expected_tokens=(Secret("env:EXPECTED", b"expected-token-0123456789"),))


def lost(account: Account, *routes: dict[str, Any], kind: Kind = Kind.PAYMENT_SUCCEEDED) -> set[str]:
    return unrouted(account, kind, [Route(TARGET, **route) for route in routes])


def test_what_no_route_would_take_is_found_where_routes_choose_verdicts() -> None:
    matching: dict[str, Any] = {"verdicts": frozenset({"match", "none"})}

    assert lost(ANNOUNCING, matching) == set(Verdict) - {"match"}
    assert lost(SILENT, matching) == set()
    assert lost(SILENT, {"verdicts": frozenset({"match"})}) == {"none"}
    assert lost(ANNOUNCING, matching, {"verdicts": frozenset(set(Verdict))}) == set()


def test_a_route_without_verdicts_takes_the_rest_of_its_own_kinds_and_accounts_only() -> None:
    matching: dict[str, Any] = {"verdicts": frozenset({"match"})}

    assert lost(ANNOUNCING, matching, {}) == set()
    for narrow in ({"kinds": ("subscription.*",)}, {"providers": ("paynet",)}, {"accounts": ("b",)}, {"test": "live"}):
        assert "none" in lost(ANNOUNCING, matching, narrow), narrow
    assert lost(ANNOUNCING, matching, {"kinds": ("payment.failed",)}, kind=Kind.PAYMENT_FAILED) == set()


def test_kinds_that_no_route_wants_are_not_missed() -> None:
    assert lost(ANNOUNCING, {"kinds": ("subscription.*",)}) == set()
    assert lost(ANNOUNCING) == set()


def test_an_event_goes_to_every_route_that_takes_it_in_their_order() -> None:
    routes = [
        Route(Target(name, name, "a.b"), kinds=(kinds,))
        for name, kinds in (("b", "*"), ("a", "payment.*"), ("c", "notice.*"))
    ]

    assert [target.route for target in targets(event_of(), routes)] == ["b", "a"]
    assert targets(event_of(), ()) == ()
