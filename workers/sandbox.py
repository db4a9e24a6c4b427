"""A configuration to play with: one test account a provider, secrets made up anew, Paratika's published sandbox key."""

import secrets
from pathlib import Path

from workers import sandbox_api

_PARATIKA = "qw3rty4iopa77fgh"  # the key of the provider's own public samples; only test accounts may use it

_CONFIG = """# Written by `ulak up`; it goes when `ulak up` ends. ulak.example.toml shows a real one.
data_key = "file:data_key"

[[accounts]]
provider = "paratika"
slug = "shop-tr"
test = true
secrets = ["file:paratika_secret"]

[[accounts]]
provider = "payguru"
slug = "shop-tr"
test = true
token = "file:payguru_token"

[[accounts]]
provider = "payguru-phs"
slug = "shop-tr"
test = true
merchant_id = "123"
service_code = "XXX"
secrets = [{ merchant_key = "file:phs_merchant_key", service_key = "file:phs_service_key" }]

[[accounts]]
provider = "paynet"
slug = "shop-tr"
test = true
token = "file:paynet_token"
browser_token = "file:paynet_browser_token"

[[accounts]]
provider = "zotlo"
slug = "shop-tr"
test = true
app_id = "1"
token = "file:zotlo_token"

[[accounts]]
provider = "haso"
slug = "shop-tr"
test = true
merchant_id = "1000"
token = "file:haso_token"
browser_token = "file:haso_browser_token"

[[routes]]
name = "events"
queue = "events"
job = "workers.jobs.on_event"
min_trust = "claimed"   # the default is "route"; here everything is shown, also what a browser merely claims
"""
_NAMES = ("paratika", "payguru", "phs", "paynet", "zotlo", "haso")
_MADE_UP = (
    "data_key",
    "payguru_token",
    "phs_merchant_key",
    "phs_service_key",
    "paynet_token",
    "paynet_browser_token",
    "zotlo_token",
    "haso_token",
    "haso_browser_token",
)
_BYTES = {"data_key": 32}
_ANNOUNCING = ("paratika_secret", *(f"{name}_expected_token" for name in _NAMES))


# So that nobody has to wait two minutes to see a missing callback found.
_SOON = 'reconcile_after = ["3 s", "10 s", "1 min", "10 min"]\n'
# Accounts whose facts are held until the API, played by workers.sandbox_api, was asked.
_ASKED = """
[[accounts]]
provider = "paratika"
slug = "shop-asked"
test = true
expected_token = "file:asked_paratika_expected_token"
secrets = ["file:asked_paratika_secret"]
api = {{ base_url = "{api}/paratika", merchant = "1", user = "sandbox", password = "file:api_secret" }}

[[accounts]]
provider = "payguru"
slug = "shop-asked"
test = true
expected_token = "file:asked_payguru_expected_token"
token = "file:asked_payguru_token"
api = {{ base_url = "{api}/payguru", merchant_id = "1", service_id = "1234" }}

[[accounts]]
provider = "payguru-phs"
slug = "shop-asked"
test = true
expected_token = "file:asked_phs_expected_token"
merchant_id = "123"
service_code = "XXX"
secrets = [{{ merchant_key = "file:asked_phs_merchant_key", service_key = "file:asked_phs_service_key" }}]
api = {{ base_url = "{api}/payguru-phs", server_ip = "127.0.0.1" }}

[[accounts]]
provider = "paynet"
slug = "shop-asked"
test = true
expected_token = "file:asked_paynet_expected_token"
token = "file:asked_paynet_token"
browser_token = "file:asked_paynet_browser_token"
api = {{ base_url = "{api}/paynet", secret_key = "file:api_secret" }}

[[accounts]]
provider = "zotlo"
slug = "shop-asked"
test = true
expected_token = "file:asked_zotlo_expected_token"
app_id = "1"
token = "file:asked_zotlo_token"
api = {{ base_url = "{api}/zotlo", access_key = "file:api_secret", access_secret = "file:api_secret", sandbox = true }}

[[accounts]]
provider = "haso"
slug = "shop-asked"
test = true
expected_token = "file:asked_haso_expected_token"
merchant_id = "1000"
token = "file:asked_haso_token"
browser_token = "file:asked_haso_browser_token"
api = {{ base_url = "{api}/haso", hmac_key = "file:asked_haso_hmac_key", salt = "file:asked_haso_salt" }}
"""


def write(folder: Path, api: str = "") -> Path:
    """
    Write configuration and secrets into *folder*, readable by us alone; return the configuration's path.

    With *api*, the address of workers.sandbox_api, there are accounts whose facts are confirmed there.
    """
    values = {name: secrets.token_hex(_BYTES.get(name, 16)) for name in _MADE_UP} | {"paratika_secret": _PARATIKA}
    if api:
        values |= {f"asked_{name}": secrets.token_hex(16) for name in (*_MADE_UP, *_ANNOUNCING)}
        values |= sandbox_api.SECRETS
    for name, value in values.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(value)
    path = folder / "ulak.toml"
    path.write_text((_SOON if api else "") + _CONFIG + (_ASKED.format(api=api) if api else ""))
    return path
