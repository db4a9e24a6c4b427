"""
Paratika and its family (Payten / Asseco MSU, ZiraatPay, VakifPayS): one signed form that the shopper's browser posts.

Source: the provider's API v2 guide (Direct POST answer fields, error list) and its official samples.
Proof: ``sdSha512`` = hex SHA-512 of merchantPaymentId|customerId|sessionToken|responseCode|random|secret, in UTF-8. It
    covers order, customer and response code: not amount, not pgTranId, not errorCode.
Reply: a person is looking, so 303 to the shop, or a page.
Quirks: ``SD_SHA512`` is made by two formulas in the provider's own samples, one of which leaves out the response code:
    never read. ``random`` may be a negative number. ``customerId`` may be missing and then counts as empty.
    A 3D-only return also says 00, and its marks are not covered by the hash; hence the ``session`` setting.
    The meaning of an ERR number depends on the brand. Some senders write the names in capitals.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from marshmallow import fields as ma
from marshmallow import validate

from receiver import browser, redact, signing
from receiver.account import Account
from receiver.errors import Reason, Unverified
from receiver.event import Card, Category, Customer, Failure, Kind, Method, Statement, Why
from receiver.message import CallbackRequest, Level, Media, Notification, Reply, respelled
from receiver.money import EXPONENTS
from receiver.ports import Channel, Scenario, SettingsSchemas, Settled, Token
from receiver.schema import (
    Amount,
    BaseUrl,
    CallbackSchema,
    Installments,
    Loose,
    Note,
    SecretRef,
    Setting,
    SettingsSchema,
    Text,
    moment,
    money,
)

# In the order of the hash; the secret comes last.
SIGNED = ("merchantPaymentId", "customerId", "sessionToken", "responseCode", "random")
COVERS = ("order_ref", "customer.ref", "status")

RESPONSES = {
    "01": Kind.PAYMENT_PENDING,  # two-step approval
    "98": Kind.PAYMENT_PENDING,  # a fault on the way: nobody knows whether the bank took the money
}

# Group: kind and category of a declined (99) return, and what it means. Settled in docs/events.md.
GROUPS: Mapping[str, tuple[Kind, Category, str, str]] = {
    "R": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP, "the shop's request was wrong", "mağazanın isteği hatalı"),
    "A": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP, "the shop lacks a permission", "mağazanın yetkisi yok"),
    "C": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP, "the shop's POS is not set up for this", "POS tanımı eksik"),
    "K": (Kind.PAYMENT_FAILED, Category.CARD_DATA, "the card data is wrong", "kart bilgisi hatalı"),
    "F": (Kind.PAYMENT_FAILED, Category.FRAUD, "refused for suspicion of fraud", "sahtecilik şüphesiyle ret"),
    "B": (Kind.PAYMENT_FAILED, Category.BANK_DECLINE, "the bank refused", "banka reddetti"),
    "M": (Kind.PAYMENT_FAILED, Category.INSUFFICIENT_FUNDS, "not enough money or limit", "bakiye veya limit yetersiz"),
    "H": (Kind.PAYMENT_FAILED, Category.THREEDS, "3-D Secure did not succeed", "3-D Secure başarısız"),
    "E": (Kind.PAYMENT_FAILED, Category.PROVIDER_ERROR, "a fault at the bank", "banka tarafında hata"),
    "U": (Kind.PAYMENT_FAILED, Category.CUSTOMER_CANCELED, "the customer gave up", "müşteri vazgeçti"),
    "D": (Kind.PAYMENT_PENDING, Category.DUPLICATE, "the order was already paid: ask", "sipariş zaten ödenmiş: sorun"),
    "Q": (Kind.PAYMENT_PENDING, Category.UNKNOWN, "waiting or locked: ask", "beklemede veya kilitli: sorun"),
    "S": (Kind.PAYMENT_PENDING, Category.UNKNOWN, "the session has ended: ask", "oturum sona ermiş: sorun"),
    "L": (Kind.PAYMENT_PENDING, Category.UNKNOWN, "not found: ask", "bulunamadı: sorun"),
    "X": (Kind.PAYMENT_PENDING, Category.PROVIDER_ERROR, "a fault; the outcome is open: ask", "sonuç belirsiz: sorun"),
    "W": (Kind.PAYMENT_UNKNOWN, Category.UNKNOWN, "about a stored card, no payment", "kayıtlı kart işlemi"),
    "P": (Kind.PAYMENT_UNKNOWN, Category.UNKNOWN, "about a recurring plan, no payment", "düzenli ödeme planı işlemi"),
    "V": (Kind.PAYMENT_UNKNOWN, Category.UNKNOWN, "a refund, void or capture was refused", "iade veya iptal reddi"),
}


def _codes(text: str) -> dict[str, str]:
    """Read lines of "group: number number …"."""
    lines = (line.split(":") for line in text.strip().splitlines())
    return {code: group.strip() for group, codes in lines for code in codes.split()}


# Numbers behind ERR, from the provider's own list (10010 to 10117) and its later additions.
CODES = _codes("""
    R: 10010 10011 10012 10013 10014 10016 10017 10018 10021 10022 10023 10024 10025 10026 10039 10040 10043 10044
    R: 10054 10055 10056 10066 10080 10081 10083 10084 10085 10086 10088 10092 10093 10101 10112
    A: 10015 10020 10047 10049 10050 10053 10060 10082 10099 10108 10116
    C: 10028 10029 10051 10052 10075 10087 10091 10104 10105 10109 10110 10111 10113 10115 10149
    K: 10027 10045 10046 10057 10063 10064 10102 10144 10168 10169
    W: 10037 10041 10042 10058 10059 10062 10065 10079 10089 10094 10095
    P: 10067 10068 10070 10071 10072 10073 10074 10076
    L: 10030 10034 10126
    V: 10031 10032 10033 10035 10036 10106 10153
    D: 10048 10100 10107 10143 20127
    Q: 10038 10078
    S: 10096 10097 10098 10117
    F: 10103 10130 30001 30004
    B: 10090 30003
    X: 10019 10069 30005
    H: 10138 10154 30002
""")
# The two digits behind ERR200, and the bank's own code (ISO 8583) in pgTranErrorCode.
BANK_CODES = _codes("""
    M: 51 16
    K: 33 54 14 82 84 80 56 23
    F: 34 59 63 41 43 04 07 YK
    B: 05 12 36 57 58 61 62 65 69 73 75 38 85 93 27 01 02
    E: 03 13 20 30 76 77 81 15 21 32 91 96 99 19 88 89 90
    X: 68 92
    U: 17
    L: 26 28 29
    D: 94 98
    V: 40
""")
# What the same numbers say at the other brands of the family; a dagger number without a known meaning is left out.
DAGGER = frozenset(
    "10049 10057 10058 10059 10062 10063 10064 10065 10067 10069 10072 10073 10074 10079 10089 10099 10101 10104 "
    "10106 10108 10109 10110 10113 10115 10116 10117".split()
)
# The additions from 10118 on are Paratika's own; the bank's codes (200nn, 300nn) are one for all brands.
MSU_CODES = {
    code: group for code, group in CODES.items() if code not in DAGGER and not 10118 <= int(code) < 20000
} | _codes("""
    C: 10049 10079
    H: 10099 10106
    K: 10104
    R: 10101
    S: 10109 10110
""")
BRANDS = {"paratika": CODES, "msu": MSU_CODES, "ziraatpay": MSU_CODES, "vakifpays": MSU_CODES}
SESSIONS = {"sale": Kind.PAYMENT_SUCCEEDED, "preauth": Kind.PAYMENT_AUTHORIZED, "auth3d": Kind.PAYMENT_PENDING}

KEPT = (
    *("apiMerchantId", "paymentSystem", "paymentSystemType", "paymentSystemEftCode", "pgTranDate", "pgTranId"),
    *("pgTranRefId", "pgTranApprCode", "pgOrderId", "merchantPaymentId", "customerId", "amount", "currency"),
    *("installment", "installmentCount", "responseCode", "responseMsg", "errorCode", "errorMsg", "pgTranErrorCode"),
    *("pgTranErrorText", "violatorParam", "mdStatus", "mdErrorMsg", "cardBrand", "is3D", "threeDStatus"),
)
# Known, and in no event: keys, hashes, card data, names, fraud scores.
DROPPED = (
    *("sessionToken", "random", "sdSha512", "SD_SHA512", "cardToken", "auth3DToken", "panLast4", "cardBin"),
    *("nameOnCard", "cardPanMasked", "bankResponseExtras", "allowedUrl", "tmxReviewStatus", "tmxRiskRating"),
    *("tmxPolicyScore", "tmxReasonCode", "tmxSessionQueryOutput", "merchant", "transactionType", "customData"),
)
# Some senders write capitals; legacy SD_SHA512 keeps its own name under this folding.
_SPELLING = {name.lower(): name for name in (*KEPT, *DROPPED)}


class ReturnSchema(CallbackSchema):
    merchantPaymentId = Text(required=True, limit=128)
    customerId = Text(limit=128)
    sessionToken = Text(required=True)
    responseCode = Text(required=True, limit=10)
    random = Text(required=True)
    responseMsg = Note()
    errorCode = Text()
    errorMsg = Note()
    pgTranErrorCode = Text()
    pgTranErrorText = Note()
    auth3DToken = Text(limit=4000)
    mdStatus = Text()
    pgTranId = Text(limit=128)
    pgTranDate = Loose()
    amount = Amount()
    currency = Text()
    installment = Installments()
    installmentCount = Installments()
    panLast4 = Loose()
    cardBrand = Note()


class Settings(SettingsSchema):
    session = ma.String(load_default="sale", validate=validate.OneOf(list(SESSIONS)))
    currency = ma.String(load_default="TRY", validate=validate.OneOf(["", *EXPONENTS], error="is not in ISO 4217"))
    brand = ma.String(load_default="paratika", validate=validate.OneOf(list(BRANDS)))


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    merchant = Setting()
    user = Setting()
    password = SecretRef(required=True)


_SAMPLE = {
    "merchantPaymentId": "ORDER-1001",
    "customerId": "CUSTOMER-7",
    "sessionToken": "SANDBOXSESSION",
    "responseCode": "00",
    "responseMsg": "Approved",
    "random": "Zq4Lw9",
    "pgTranId": "17012SANDBOX",
    "pgTranDate": "20170112 14:13:13",
    "amount": "11.76",
    "installment": "1",
}


def _declined(code: str, bank: str = "") -> Scenario:
    fields = _SAMPLE | {"responseCode": "99", "responseMsg": "Declined", "errorCode": code, "pgTranErrorCode": bank}
    return _scenario({name: value for name, value in fields.items() if value})


def _scenario(fields: Mapping[str, str]) -> Scenario:
    return Scenario("return", fields, unique=("merchantPaymentId", "sessionToken"))


class Paratika:
    name = "paratika"
    title = "Paratika (card)"
    adds_commission = True
    retries_for = 0
    channels: Mapping[str, Channel] = {
        "return": Channel("return", ("POST",), (Media.FORM,), Token.NONE, ReturnSchema(), KEPT, DROPPED, browser=True)
    }
    settings = SettingsSchemas(
        Settings(),
        ApiSettings(),
        published_secrets=frozenset({"qw3rty4iopa77fgh"}),  # printed in the official samples
        takes=frozenset({"secrets", "result_url", "result_secret", "relay"}),
        needs=frozenset({"secrets"}),
    )
    scenarios: Mapping[str, Scenario] = {
        "success": _scenario(_SAMPLE),
        "threeds-only": _scenario(
            {name: value for name, value in _SAMPLE.items() if name != "pgTranId"}
            | {"auth3DToken": "SANDBOX3D", "mdStatus": "1"}
        ),
        "declined": _declined(""),
        "insufficient-funds": _declined("", "51"),
        "card-data": _declined("ERR10045"),
        "fraud": _declined("ERR10103"),
        "threeds-failed": _declined("ERR30002"),
        "merchant-setup": _declined("ERR10052"),
        "already-paid": _declined("ERR10048"),
        "timeout": _declined("ERR20068"),
        "general-error": _scenario(_SAMPLE | {"responseCode": "98", "responseMsg": "General Error"}),
        "waiting-approval": _scenario(_SAMPLE | {"responseCode": "01", "responseMsg": "Waiting for Approval"}),
        "unlisted": _scenario(_SAMPLE | {"responseCode": "77", "responseMsg": "?"}),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        del token_id
        # One name or bank text in an old charset must not cost a return that comes only once; the hash decides anyway.
        fields = respelled(request.fields("windows-1254", "latin-1"), _SPELLING)
        values = [fields.get(name, "") for name in SIGNED]
        given = fields.get("sdSha512", "").lower()
        secret, _ = signing.match(account.secrets, given, lambda key: _digest(values, key.value))
        # After the match, so that nobody without the secret learns which check stopped him.
        if any("|" in value for value in values):
            raise Unverified(Reason.AMBIGUOUS_SIGNATURE)
        return (Notification(fields, Level.SIGNED, secret.key_id, frozenset(SIGNED), COVERS),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        kind, why, failure = _judge(fields, account)
        order, code = fields["merchantPaymentId"], fields["responseCode"]
        sold = kind is Kind.PAYMENT_SUCCEEDED
        last4 = fields["panLast4"]
        return Statement(
            kind=kind,
            fact_key=(order,) if sold else (order, fields["sessionToken"], code, fields["random"]),
            status_code=code,
            status_text=fields["responseMsg"],
            order_ref=order,
            payment_ref=fields["pgTranId"],
            reason=why,
            amount=money(fields["amount"], fields["currency"] or account.options["currency"]),
            failure=failure,
            method=Method.CARD,
            card=Card(
                last4=last4 if last4 and len(last4) == 4 and last4.isdecimal() else None,
                brand=fields["cardBrand"],
                installments=fields["installment"] or fields["installmentCount"],
            ),
            customer=Customer(ref=fields["customerId"]),
            occurred=moment(fields["pgTranDate"]),
        )

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        # Only a 3D-only return leaves something to do for the shop: it must charge, and needs the posted ids for it.
        relay = account.relay and any(event.says.reason is Why.THREEDS_ONLY for event in settled.events)
        return browser.settled(settled, account, request.received_at, request.request_id, relay=relay)

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        values = [scenario.fields.get(name, "") for name in SIGNED]
        digest = _digest(values, account.secrets[0].value).decode()
        body = urlencode({**scenario.fields, "sdSha512": digest}).encode()
        return CallbackRequest("return", "POST", b"", body, Media.FORM, now, "simulated")


def _digest(values: Sequence[str], secret: bytes) -> bytes:
    return signing.hex_digest("sha512", "|".join(values).encode() + b"|" + secret)


def _judge(fields: Mapping[str, Any], account: Account) -> tuple[Kind, Why | None, Failure | None]:
    """Kind, reason and failure. Only responseCode is proven, so nothing unsigned makes an outcome better."""
    code, session = fields["responseCode"], account.options["session"]
    if code == "99":
        return _declined_as(fields, BRANDS[account.options["brand"]])
    if code != "00":
        return RESPONSES.get(code, Kind.PAYMENT_UNKNOWN), None, None
    marked = fields["auth3DToken"] or (fields["mdStatus"] and not fields["pgTranId"])
    if marked or session == "auth3d":
        return Kind.PAYMENT_PENDING, Why.THREEDS_ONLY, None
    whole = fields["pgTranId"] and not fields["errorCode"]
    return (SESSIONS[session] if whole else Kind.PAYMENT_PENDING), None, None


def _declined_as(fields: Mapping[str, Any], codes: Mapping[str, str]) -> tuple[Kind, None, Failure]:
    code, bank = fields["errorCode"], fields["pgTranErrorCode"]
    if code:
        number = code.upper().removeprefix("ERR")
        group = codes.get(number) or (BANK_CODES.get(number[3:]) if number.startswith("200") else None)
        # ERR10090 only says that it failed; the bank's own code may say why.
        if group == "B" and bank:
            group = BANK_CODES.get(bank.removeprefix("ISO-"), group)
    else:
        group = BANK_CODES.get((bank or "").removeprefix("ISO-"), "B")
    text = fields["errorMsg"] or fields["pgTranErrorText"]
    if group is None:
        return Kind.PAYMENT_UNKNOWN, None, Failure(Category.UNKNOWN, redact.scrub(code), text)
    kind, category, words, _ = GROUPS[group]
    told = redact.scrub(code or bank or fields["responseCode"])  # the browser may have put anything there
    return kind, None, Failure(category, told, text or words)
