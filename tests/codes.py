"""
Every code that the source documents of the project name, as data. None of their sentences is here.

The groups of Paratika's numbers, and what a group means, were copied by hand from the notes on the provider, not from
our tables: two hands, so that a slip in one shows.
"""

from receiver.event import Category, Kind

PARATIKA_NUMBERS = tuple(str(number) for number in range(10010, 10118) if number not in {10061, 10077, 10114})
PARATIKA_RESPONSES = ("00", "98", "99")

_ERRORS = {
    "R": "10010-10014 10016-10018 10021-10026 10039 10040 10043 10044 10054-10056 10066 10080 10081 10083-10086 "
    "10088 10092 10093 10101 10112",
    "A": "10015 10020 10047 10049 10050 10053 10060 10082 10099 10108 10116",
    "C": "10028 10029 10051 10052 10075 10087 10091 10104 10105 10109-10111 10113 10115",
    "K": "10027 10045 10046 10057 10063 10064 10102",
    "W": "10037 10041 10042 10058 10059 10062 10065 10079 10089 10094 10095",
    "P": "10067 10068 10070-10074 10076",
    "L": "10030 10034",
    "V": "10031-10033 10035 10036 10106",
    "D": "10048 10100 10107",
    "Q": "10038 10078",
    "S": "10096-10098 10117",
    "F": "10103",
    "B": "10090",
    "X": "10019 10069",
}


def _numbers(text: str) -> list[str]:
    found = []
    for part in text.split():
        first, _, last = part.partition("-")
        found += [str(number) for number in range(int(first), int(last or first) + 1)]
    return found


PARATIKA_GROUPS = {number: group for group, text in _ERRORS.items() for number in _numbers(text)}
# What EVENTS settles for a declined (99) return of each group.
PARATIKA_MEANING: dict[str, tuple[Kind, Category | None]] = {
    "R": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "A": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "C": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "K": (Kind.PAYMENT_FAILED, Category.CARD_DATA),
    "F": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "B": (Kind.PAYMENT_FAILED, Category.BANK_DECLINE),
    "D": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "Q": (Kind.PAYMENT_PENDING, None),
    "S": (Kind.PAYMENT_PENDING, None),
    "L": (Kind.PAYMENT_PENDING, None),
    "X": (Kind.PAYMENT_PENDING, None),
    "W": (Kind.PAYMENT_UNKNOWN, None),
    "P": (Kind.PAYMENT_UNKNOWN, None),
    "V": (Kind.PAYMENT_UNKNOWN, None),
}
# Numbers that mean something else at the other brands of the family, where that meaning is known.
MSU_MEANING: dict[str, tuple[Kind, Category | None]] = {
    "10049": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "10079": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "10099": (Kind.PAYMENT_FAILED, Category.THREEDS),
    "10101": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "10104": (Kind.PAYMENT_FAILED, Category.CARD_DATA),
    "10106": (Kind.PAYMENT_FAILED, Category.THREEDS),
    "10107": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "10109": (Kind.PAYMENT_PENDING, None),
    "10110": (Kind.PAYMENT_PENDING, None),
}
DAGGER = (
    "10049 10057 10058 10059 10062 10063 10064 10065 10067 10069 10072 10073 10074 10079 10089 10099 10101 10104 "
    "10106 10107 10108 10109 10110 10113 10115 10116 10117"
).split()
# Not in the documents, but settled by name.
PARATIKA_OTHERS: dict[str, tuple[Kind, Category | None]] = {
    "ERR10130": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "ERR10138": (Kind.PAYMENT_FAILED, Category.THREEDS),
    "ERR10143": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "ERR10144": (Kind.PAYMENT_FAILED, Category.CARD_DATA),
    "ERR10149": (Kind.PAYMENT_FAILED, Category.MERCHANT_SETUP),
    "ERR10153": (Kind.PAYMENT_UNKNOWN, None),
    "ERR10154": (Kind.PAYMENT_FAILED, Category.THREEDS),
    "ERR10168": (Kind.PAYMENT_FAILED, Category.CARD_DATA),
    "ERR20051": (Kind.PAYMENT_FAILED, Category.INSUFFICIENT_FUNDS),
    "ERR20016": (Kind.PAYMENT_FAILED, Category.INSUFFICIENT_FUNDS),
    "ERR20054": (Kind.PAYMENT_FAILED, Category.CARD_DATA),
    "ERR20034": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "ERR200YK": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "ERR20005": (Kind.PAYMENT_FAILED, Category.BANK_DECLINE),
    "ERR20091": (Kind.PAYMENT_FAILED, Category.PROVIDER_ERROR),
    "ERR20017": (Kind.PAYMENT_FAILED, Category.CUSTOMER_CANCELED),
    "ERR20068": (Kind.PAYMENT_PENDING, None),
    "ERR20092": (Kind.PAYMENT_PENDING, None),
    "ERR20094": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "ERR20098": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "ERR20127": (Kind.PAYMENT_PENDING, Category.DUPLICATE),
    "ERR20026": (Kind.PAYMENT_PENDING, None),
    "ERR20040": (Kind.PAYMENT_UNKNOWN, None),
    "ERR30001": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "ERR30002": (Kind.PAYMENT_FAILED, Category.THREEDS),
    "ERR30003": (Kind.PAYMENT_FAILED, Category.BANK_DECLINE),
    "ERR30004": (Kind.PAYMENT_FAILED, Category.FRAUD),
    "ERR30005": (Kind.PAYMENT_PENDING, None),
}

PAYGURU_STATUSES: dict[str, Kind] = {
    "1": Kind.PAYMENT_PENDING,
    "3": Kind.PAYMENT_SUCCEEDED,
    "4": Kind.PAYMENT_FAILED,
    "5": Kind.PAYMENT_EXPIRED,
    "6": Kind.PAYMENT_REFUNDED,
    "7": Kind.PAYMENT_REFUND_PENDING,
    "8": Kind.PAYMENT_CANCELED,
    "9": Kind.PAYMENT_CANCELED,
    "-18": Kind.PAYMENT_CANCELED,
    "-5": Kind.PAYMENT_FAILED,
    "-8": Kind.PAYMENT_FAILED,
    "-9": Kind.PAYMENT_CANCELED,
}
PAYGURU_WORDS: dict[str, Kind] = {
    "unknown": Kind.SUBSCRIPTION_PENDING,
    "active": Kind.SUBSCRIPTION_ACTIVATED,
    "retry": Kind.SUBSCRIPTION_PAST_DUE,
    "cancelled": Kind.SUBSCRIPTION_CANCELED,
    "suspend": Kind.SUBSCRIPTION_SUSPENDED,
    "rejected": Kind.SUBSCRIPTION_REJECTED,
}
PHS_STATUSES: dict[str, Kind] = {
    "1": Kind.PAYMENT_PENDING,
    "2": Kind.PAYMENT_PENDING,
    "3": Kind.PAYMENT_SUCCEEDED,
    "5": Kind.PAYMENT_PENDING,
    "6": Kind.PAYMENT_REFUNDED,
    "8": Kind.PAYMENT_PENDING,
}
PAYGURU_HTTP = (200, 204, 400, 403, 404, 409, 429, 500, 503)
PAYNET_HTTP = (200, 400, 401, 403, 404, 405)
PAYNET_RESULTS = (*(str(code) for code in range(22)), "100")
PAYNET_ERROR_TYPES = ("api_error", "invalid_request_error", "authorization_error", "no_data_error")
PAYNET_ORDER_STATES = ("0", "2", "3", "4", "5", "6")

ZOTLO_STATUSES: dict[str, Kind] = {
    "trial": Kind.PAYMENT_SUCCEEDED,
    "trial_to_paid": Kind.PAYMENT_SUCCEEDED,
    "renewal": Kind.PAYMENT_SUCCEEDED,
    "reactive": Kind.PAYMENT_SUCCEEDED,
    "consumable": Kind.PAYMENT_SUCCEEDED,
    "start_paid": Kind.PAYMENT_SUCCEEDED,
}
# Not in the project's document, but on one of the provider's pages.
ZOTLO_LATER: dict[str, Kind] = {"set_quantity": Kind.PAYMENT_SUCCEEDED}
ZOTLO_REFUNDS: dict[str, Kind] = {
    "chargeback_dispute": Kind.PAYMENT_CHARGED_BACK,
    "chargeback_prevented": Kind.PAYMENT_REFUNDED,
}
ZOTLO_CHANGES: dict[str, Kind] = {
    "newSubscriber": Kind.SUBSCRIPTION_ACTIVATED,
    "renewal": Kind.SUBSCRIPTION_RENEWED,
    "activeToGrace": Kind.SUBSCRIPTION_PAST_DUE,
    "graceToActive": Kind.SUBSCRIPTION_RENEWED,
    "graceToPassive": Kind.SUBSCRIPTION_EXPIRED,
    "cancel": Kind.SUBSCRIPTION_CANCELED,
    "Cancel": Kind.SUBSCRIPTION_CANCELED,
    "reactivate": Kind.SUBSCRIPTION_REACTIVATED,
    "package_update": Kind.SUBSCRIPTION_UPDATED,
    "packageUpgrade": Kind.SUBSCRIPTION_UPDATED,
    "packageDowngrade": Kind.SUBSCRIPTION_UPDATED,
    "changePackage": Kind.SUBSCRIPTION_UPDATED,
    "packageClosed": Kind.SUBSCRIPTION_UPDATED,
}
ZOTLO_STATES: dict[str, Kind] = {
    "active": Kind.SUBSCRIPTION_UPDATED,
    "grace": Kind.SUBSCRIPTION_PAST_DUE,
    "passive": Kind.SUBSCRIPTION_EXPIRED,
}
ZOTLO_HTTP = (200, 400, 500)
HASO_INSTALLMENTS: dict[str, Kind] = {
    "0": Kind.INSTALLMENT_PENDING,
    "1": Kind.INSTALLMENT_PAID,
    "2": Kind.INSTALLMENT_PARTIALLY_PAID,
    "3": Kind.INSTALLMENT_PAST_DUE,
    "4": Kind.INSTALLMENT_CANCELED,
}
HASO_CODES = ("RS100", "H307", "H308")
