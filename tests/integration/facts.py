"""Events to put into the store, without a provider around them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from receiver.event import Event, Kind, Statement, Trust
from receiver.message import CallbackRequest, Level, Media
from receiver.money import Money
from receiver.ports import Entry, Target, Unreadable

ORDERS = Target("orders", "orders", "consumer.record")
LEDGER = Target("ledger", "books", "consumer.record")
SEALED = b"\x00sealed \xff bytes"
SHOPPER = "Ayşe Yılmaz"


def event(order: str) -> Event:
    """Return the event of an order that is paid; the text in it must survive JSON in Lua."""
    return Event(
        provider="paratika",
        account="shop-tr",
        channel="return",
        test=True,
        received_at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
        trust=Trust(Level.SIGNED, ("order_ref", "status")),
        says=Statement(
            kind=Kind.PAYMENT_SUCCEEDED,
            fact_key=(order,),
            status_code="00",
            status_text='"ç" \\ %s',
            order_ref=order,
            amount=Money(1176, "TRY"),
        ),
        custom={"name": SHOPPER},
    )


def entry(order: str = "A-1", routes: Sequence[Target] = (ORDERS,), *, hold: bool = False) -> Entry:
    return Entry(event(order), tuple(routes), SEALED, hold=hold)


def unreadable(body: bytes, account: str = "shop-tr", request_id: str = "r1") -> Unreadable:
    request = CallbackRequest("return", "POST", b"", body, Media.FORM, datetime(2026, 11, 22, tzinfo=UTC), request_id)
    return Unreadable("paratika", account, "unreadable_field", body.hex(), request, SEALED)
