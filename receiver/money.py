"""
Exact money: an integer of minor units and an ISO 4217 code.

Never a float on the way, never rounded: an amount that does not fit its currency is an error, so that the callback is
quarantined and a person looks at it.
"""

import re
from dataclasses import dataclass
from typing import Self

# ISO 4217, active codes; the exponent is the number of decimal places.
_TWO_PLACES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG"
)
_NO_PLACES = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_PLACES = "BHD IQD JOD KWD LYD OMR TND"
EXPONENTS: dict[str, int] = {
    **dict.fromkeys(_TWO_PLACES.split(), 2),
    **dict.fromkeys(_NO_PLACES.split(), 0),
    **dict.fromkeys(_THREE_PLACES.split(), 3),
}
# The old abbreviation of the Turkish lira, still sent by Paynet and the Payguru PHS API.
_ALIASES = {"TL": "TRY"}

_PLAIN = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,8}))?", re.ASCII)


def currency_code(text: str) -> str:
    """Return the ISO 4217 code for *text* (``TL`` becomes ``TRY``); raise ValueError for anything not on the list."""
    code = text.strip().upper()
    code = _ALIASES.get(code, code)
    if code not in EXPONENTS:
        raise ValueError("currency is not an ISO 4217 code")
    return code


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (kuruş, cent) of an ISO 4217 currency."""

    minor: int
    currency: str

    @classmethod
    def parse(cls, text: str, currency: str) -> Self:
        """
        Read plain decimal text in major units, such as ``11.76``.

        Digits and at most one dot: no sign, no exponent, no grouping. Raise ValueError where the text is anything
        else or holds more than the currency's own places (trailing zeros do not count).
        """
        places = EXPONENTS[currency_code(currency)]
        found = _PLAIN.fullmatch(text)
        if found is None:
            raise ValueError("amount is not a plain decimal")
        fraction = (found[2] or "").rstrip("0")
        if len(fraction) > places:
            raise ValueError("amount has more places than its currency")
        return cls(int(found[1] + fraction.ljust(places, "0")), currency_code(currency))

    @property
    def value(self) -> str:
        """Decimal text in major units with the currency's own number of places."""
        places = EXPONENTS[self.currency]
        digits = str(self.minor).rjust(places + 1, "0")
        return f"{digits[:-places]}.{digits[-places:]}" if places else digits

    def to_wire(self) -> dict[str, str | int]:
        return {"value": self.value, "minor": self.minor, "currency": self.currency}
