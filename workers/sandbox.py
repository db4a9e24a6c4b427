"""A configuration to play with: one test account a provider, secrets made up anew, Paratika's published sandbox key."""

import secrets
from pathlib import Path

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

[[routes]]
name = "events"
queue = "events"
job = "workers.jobs.on_event"
min_trust = "claimed"   # the default is "route"; here everything is shown, also what a browser merely claims
"""
_MADE_UP = ("data_key", "payguru_token", "phs_merchant_key", "phs_service_key", "paynet_token", "paynet_browser_token")
_BYTES = {"data_key": 32}


def write(folder: Path) -> Path:
    """Write configuration and secrets into *folder*, readable by us alone; return the configuration's path."""
    values = {name: secrets.token_hex(_BYTES.get(name, 16)) for name in _MADE_UP} | {"paratika_secret": _PARATIKA}
    for name, value in values.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(value)
    path = folder / "ulak.toml"
    path.write_text(_CONFIG)
    return path
