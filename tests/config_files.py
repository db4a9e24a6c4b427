"""Configuration files, good and bad: TOML, and the environment that their references name."""

from tests.accounts import SANDBOX

ENV = {
    "SANDBOX": SANDBOX,
    "OWN": "own-secret-of-the-merchant",
    "OLD": "own-secret-of-last-year",
    "TOKEN": "route-token-0123456789",
    "TOKEN2": "route-token-9876543210",
    "EXPECTED": "expected-token-0123456789",
    "BROWSER": "browser-token-0123456789",
    "SHORT": "short-token",
    "SIGNS": "token/with?signs&0123456789",
    "LETTERS": "tökén-mit-ümlauten-0123456",
    "MK": "MERCHANTKEY",
    "SK": "SERVICEKEY",
    "RESULT": "result-secret-0123456789",
    "DATA": "ab" * 32,
    "BADDATA": "cd" * 16,
    "API": "sck_api-key",
    "EMPTY": "",
}

PARATIKA = """
[[accounts]]
provider = "paratika"
slug = "shop"
test = true
secrets = ["env:SANDBOX"]
"""
PAYNET = """
[[accounts]]
provider = "paynet"
slug = "shop"
test = true
token = "env:TOKEN"
browser_token = "env:BROWSER"
"""
PHS = """
[[accounts]]
provider = "payguru-phs"
slug = "shop"
test = true
merchant_id = "123"
service_code = "XXX"
secrets = [{ service_key = "env:SK", merchant_key = "env:MK" }]
"""
PAYGURU = """
[[accounts]]
provider = "payguru"
slug = "shop"
test = true
token = ["env:TOKEN", "env:TOKEN2"]
"""
ROUTE = """
[[routes]]
name = "orders"
job = "shop.tasks.on_payment"
"""

# What it is, the file, and words of the fault.
REFUSED: list[tuple[str, str, str]] = [
    ("published test secret", PARATIKA.replace("test = true", "test = false") + "", "published test secret"),
    (
        "published among others",
        PARATIKA.replace("test = true", "").replace('["', '["env:OWN", "'),
        "published test secret",
    ),
    (
        "one secret in two accounts",
        PARATIKA + PARATIKA.replace('"shop"', '"other"'),
        "is also a secret of paratika/shop",
    ),
    (
        "one token in two accounts",
        PAYGURU + PAYGURU.replace('"shop"', '"other"').replace("TOKEN2", "BROWSER"),
        "is also a secret",
    ),
    ("token equal to browser token", PAYNET.replace("env:BROWSER", "env:TOKEN"), "must differ from token"),
    ("short token", PAYNET.replace("env:TOKEN", "env:SHORT"), "shorter than 20"),
    ("short browser token", PAYNET.replace("env:BROWSER", "env:SHORT"), "browser_token: is shorter than 20"),
    ("token with signs", PAYNET.replace("env:TOKEN", "env:SIGNS"), "part of a URL"),
    ("token with letters outside ASCII", PAYNET.replace("env:TOKEN", "env:LETTERS"), "part of a URL"),
    ("short metrics token", 'metrics_token = "env:SHORT"\n' + PAYNET, "metrics_token: is shorter"),
    ("short expected token", PAYNET + 'expected_token = "env:SHORT"\n', "expected_token: is shorter"),
    ("expected token that stands in a URL", PAYNET + 'expected_token = "env:TOKEN"\n', "must differ from token and"),
    (
        "expected token that a shopper can read",
        PAYNET + 'expected_token = ["env:EXPECTED", "env:BROWSER"]\n',
        "expected_token: must differ from token and browser_token",
    ),
    (
        "one expected token in two accounts",
        PARATIKA
        + 'expected_token = "env:EXPECTED"\n'
        + PARATIKA.replace('"shop"', '"other"').replace("SANDBOX", "OWN")
        + 'expected_token = "env:EXPECTED"\n',
        "env:EXPECTED: is also a secret of paratika/shop",
    ),
    ("no expected token in the list", PARATIKA + "expected_token = []\n", "expected_token: must name at least one"),
    (
        "no route for the other verdicts",
        PARATIKA + 'expected_token = "env:EXPECTED"\n' + ROUTE + 'verdicts = ["match", "none"]\n',
        "no route takes the verdicts already_paid, amount_unproven, overpaid, underpaid, unknown_order, wrong_currency",
    ),
    (
        "no route for what is not held against an announcement",
        PARATIKA + ROUTE + 'verdicts = ["match"]\n',
        "for accounts paratika/shop: no route takes the verdicts none; add one without `verdicts`",
    ),
    (
        "a route for the rest that takes another account",
        PARATIKA
        + PAYNET.replace('"shop"', '"other"')
        + ROUTE
        + 'verdicts = ["match"]\n'
        + ROUTE.replace('"orders"', '"rest"')
        + 'accounts = ["other"]\n',
        "for accounts paratika/shop: no route takes the verdicts none",
    ),
    ("route of an unknown verdict", PARATIKA + ROUTE + 'verdicts = ["paid"]\n', "verdicts[0]: Must be one of"),
    ("a size that is none", 'spool_max = "1 GB"\n' + PARATIKA, "spool_max: must be a size"),
    ("a spool without room", 'spool_max = "1023 KiB"\n' + PARATIKA, "spool_max: must be at least 1 MiB"),
    ("times to ask that do not grow", 'reconcile_after = ["10 min", "2 min"]\n' + PARATIKA, "reconcile_after: must be"),
    ("no time to ask", "reconcile_after = []\n" + PARATIKA, "reconcile_after: must be at least one span"),
    ("a time to ask of nothing", 'reconcile_after = ["0 s"]\n' + PARATIKA, "reconcile_after: must be"),
    (
        "a time to ask that is longer than anybody waits",
        'reconcile_after = ["2 min", "8 d"]\n' + PARATIKA,
        "reconcile_after: must not go on for longer than 7 d",
    ),
    ("result without its secret", PARATIKA + 'result_url = "https://shop.example/r"\n', "result_secret: is required"),
    (
        "result with a fragment",
        PARATIKA + 'result_url = "https://a.b/#x"\nresult_secret = "env:RESULT"\n',
        "result_url: must be plain",
    ),
    (
        "hold longer than the marker",
        "dedupe_days = 1\n" + PARATIKA + 'confirm_for = "30 h"\n',
        "longer than dedupe_days",
    ),
    ("unknown key of an account", PARATIKA + "verify = false\n", "verify: Unknown field"),
    ("unknown key at the top", "verify = false\n" + PARATIKA, "verify: Unknown field"),
    ("unknown key of a route", PARATIKA + ROUTE + "retry = 1\n", "retry: Unknown field"),
    (
        "unknown key of an api",
        PAYNET + '[accounts.api]\nbase_url = "https://a.b"\nsecret_key = "env:API"\nx = 1\n',
        "api.x: Unknown field",
    ),
    ("a setting of another provider", PARATIKA + 'browser_token = "env:BROWSER"\n', "browser_token: Unknown field"),
    (
        "unknown provider",
        PARATIKA.replace("paratika", "stripe"),
        "must be one of payguru, payguru-phs, paratika, paynet",
    ),
    ("no provider", "[[accounts]]\nslug = 'x'\n", "must be one of"),
    ("slug in capitals", PARATIKA.replace('"shop"', '"Shop"'), "slug: must be 1 to 32"),
    ("slug with a line end", PARATIKA.replace('"shop"', '"shop\\n"'), "slug: must be 1 to 32"),
    ("slug too long", PARATIKA.replace('"shop"', '"' + "a" * 33 + '"'), "slug: must be 1 to 32"),
    ("one slug twice", PARATIKA + PARATIKA, "is there twice"),
    ("a secret in clear", PARATIKA.replace("env:SANDBOX", "own-secret-of-the-merchant"), "must be a reference"),
    ("no secret", PARATIKA.replace('["env:SANDBOX"]', "[]"), "secrets"),
    ("secrets missing", PARATIKA.replace('secrets = ["env:SANDBOX"]', ""), "secrets: Missing data"),
    ("secret of another shape", PHS.replace("merchant_key", "merchantkey"), "merchant_key: Missing data"),
    ("secret that is not set", PARATIKA.replace("SANDBOX", "NOWHERE"), "environment variable NOWHERE is not set"),
    ("secret that is empty", PARATIKA.replace("SANDBOX", "EMPTY"), "environment variable EMPTY is not set or empty"),
    ("secret file that is not there", PARATIKA.replace("env:SANDBOX", "file:none"), "cannot be read or is empty"),
    ("token missing", PAYGURU.replace('token = ["env:TOKEN", "env:TOKEN2"]', ""), "token: Missing data"),
    ("no token in the list", PAYGURU.replace('["env:TOKEN", "env:TOKEN2"]', "[]"), "token: must name at least one"),
    ("browser token missing", PAYNET.replace('browser_token = "env:BROWSER"', ""), "browser_token: Missing data"),
    ("confirmation without an api", PAYNET + 'confirm = "always"\n', "needs [accounts.api]"),
    ("unknown session", PARATIKA + 'session = "moto"\n', "session: Must be one of"),
    ("unknown brand", PARATIKA + 'brand = "x"\n', "brand: Must be one of"),
    ("a truth that is none", PARATIKA.replace("test = true", 'test = "no"'), "test: Not a valid boolean"),
    ("a name that Payguru does not send", PAYGURU + 'names = { statuss = "durum" }\n', "names"),
    (
        "one parameter for two fields",
        PAYGURU + 'names = { status = "x", order = "X " }\n',
        "give one parameter to two fields",
    ),
    (
        "a parameter that is another field's name",
        PAYGURU + 'names = { status = "order" }\n',
        "give one parameter to two fields",
    ),
    ("a parameter without a name", PAYGURU + 'names = { status = "" }\n', "names"),
    (
        "an own key that is the provider's",
        PARATIKA + 'custom = ["sessionToken"]\n',
        "custom: sessionToken is the provider's",
    ),
    ("a relay to nowhere", PARATIKA + "relay = true\n", "relay: does nothing without result_url"),
    ("a result secret for nothing", PARATIKA + 'result_secret = "env:RESULT"\n', "result_secret: does nothing"),
    (
        "a route of an unknown provider",
        PARATIKA + ROUTE + 'providers = ["stripe"]\n',
        "stripe is the name of no provider",
    ),
    ("a route of an unknown account", PARATIKA + ROUTE + 'accounts = ["other"]\n', "other is the name of no account"),
    (
        "a secret file with an impossible name",
        PARATIKA.replace("env:SANDBOX", "file:a\\u0000b"),
        "cannot be read or is empty",
    ),
    ("a currency that does not exist", PARATIKA + 'currency = "XYZ"\n', "currency"),
    ("a span that is none", 'events_keep = "soon"\n' + PARATIKA, "events_keep: must be a span"),
    ("days that are none", "dedupe_days = -1\n" + PARATIKA, "dedupe_days: Must be greater"),
    ("accounts that are no tables", "accounts = [1]\n", "accounts[0]: must be a table"),
    ("routes that are no tables", "routes = [1]\n" + PARATIKA, "routes[0]: must be a table"),
    ("accounts that are one table", "[accounts]\nprovider = 'paratika'\n", "must be a list of tables"),
    ("no account at all", "", "there is none"),
    ("one route twice", PARATIKA + ROUTE + ROUTE, "routes orders: is there twice"),
    ("route with a mode of a later version", PARATIKA + ROUTE + 'mode = "stream"\n', "mode: only `each`"),
    (
        "route to no callable",
        PARATIKA + ROUTE.replace("shop.tasks.on_payment", "on_payment"),
        "job: must be the dotted name",
    ),
    (
        "route to a script",
        PARATIKA + ROUTE.replace("shop.tasks.on_payment", 'a.b\\",1],{}]'),
        "job: must be the dotted name",
    ),
    ("route of an unknown kind", PARATIKA + ROUTE + 'kinds = ["payment.paid"]\n', "kinds[0]: is no kind"),
    ("route of an unknown trust", PARATIKA + ROUTE + 'min_trust = "full"\n', "min_trust: Must be one of"),
    ("route of an unknown cover", PARATIKA + ROUTE + 'covers = ["all"]\n', "covers[0]: Must be one of"),
    ("route with a strange queue", PARATIKA + ROUTE + 'queue = "a:b"\n', "queue: must be 1 to 32"),
]
