"""Accounts for the tests. Every secret is made up, but for Paratika's: that one is printed in its public samples."""

from dataclasses import replace
from typing import Any

from receiver.account import Account, Secret

TOKEN = "route-token-0123456789"
OLD_TOKEN = "route-token-of-last-year"
BROWSER_TOKEN = "browser-token-0123456789"
SANDBOX = "qw3rty4iopa77fgh"
RESULT_SECRET = "result-secret-0123456789"
RESULT_URL = "https://shop.example/checkout/result"

_ROUTE = (Secret("env:TOKEN", TOKEN.encode()), Secret("env:OLD_TOKEN", OLD_TOKEN.encode()))
_BROWSER = (Secret("env:BROWSER_TOKEN", BROWSER_TOKEN.encode()),)
_RESULT = Secret("env:RESULT_SECRET", RESULT_SECRET.encode())

ACCOUNTS: dict[str, Account] = {
    "payguru": Account("payguru", "shop", test=True, tokens=_ROUTE, options={"names": {}}),
    "payguru-phs": Account(
        "payguru-phs",
        "shop",
        test=True,
        secrets=(Secret("env:PHS", b"MERCHANTKEYSERVICEKEY"),),
        options={"merchant_id": "123", "service_code": "XXX", "accept": [3, 6]},
    ),
    "paratika": Account(
        "paratika",
        "shop",
        test=True,
        secrets=(Secret("env:PARATIKA", SANDBOX.encode()),),
        result_url=RESULT_URL,
        result_secret=_RESULT,
        options={"session": "sale", "currency": "TRY", "brand": "paratika"},
    ),
    "paynet": Account(
        "paynet",
        "shop",
        test=True,
        tokens=_ROUTE,
        browser_tokens=_BROWSER,
        result_url=RESULT_URL,
        result_secret=_RESULT,
    ),
    "zotlo": Account("zotlo", "shop", test=True, tokens=_ROUTE, options={"app_id": "1"}),
    "haso": Account(
        "haso",
        "shop",
        test=True,
        tokens=_ROUTE,
        browser_tokens=_BROWSER,
        result_url=RESULT_URL,
        result_secret=_RESULT,
        options={"merchant_id": "1000"},
    ),
}

_FIELDS = {"result_url", "relay", "confirm", "clear_personal", "custom", "pseudonym_key", "test"}


def account_of(provider: str, **changed: Any) -> Account:
    """Return the provider's test account with some settings changed: the account's own fields, or the provider's."""
    base = ACCOUNTS[provider]
    own = {name: changed.pop(name) for name in set(changed) & (_FIELDS | {"secrets", "tokens", "browser_tokens"})}
    if "custom" in own:
        own["custom"] = frozenset(own["custom"])
    return replace(base, **own, options={**base.options, **changed})


def token_for(provider: str, channel: str) -> str:
    """Return the token that stands at the end of the channel's URL, empty where there is none."""
    if provider in {"payguru-phs", "paratika"}:
        return ""
    return BROWSER_TOKEN if channel in {"return", "ok", "fail"} else TOKEN
