"""Plain text tables and one-line descriptions of events, for a terminal or a pipe."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADINGS = ("received", "event", "from", "order", "amount", "trust", "id")
DIFFERENCE_HEADINGS = ("what", "kind", "order", "payment", "theirs", "ours", "id")
_WIDTHS = (8, 24, 22, 22, 14, 9, 12)


def lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align *rows* under *headings*; the last column is not padded."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    return [_line(row, widths) for row in (headings, *rows)]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def event_heading() -> str:
    return _line(HEADINGS, _WIDTHS)


def event_line(event: Mapping[str, Any]) -> str:
    """One line of fixed columns, so that lines which come one by one stand under each other."""
    data = event["data"]
    row = (
        data["received_at"][11:19],
        event["type"],
        event["source"].lstrip("/"),
        data["order_ref"] or "-",
        _money(data["amount"]),
        data["trust"]["level"],
        event["id"][:12],
    )
    return _line(row, _WIDTHS)


def _money(wire: Mapping[str, Any] | None) -> str:
    return f"{wire['value']} {wire['currency']}" if wire else "-"


def comparison_lines(report: Mapping[str, Any]) -> list[str]:
    """Show what a provider's list and the received events differ in, and last how many there were of what."""
    counts = {name.replace("received", "as received"): count for name, count in report["counts"].items()}
    said = (f"{count} {name}" for name, count in counts.items() if count or name in {"listed", "as received"})
    rows = [
        (
            one["what"],
            one["kind"],
            one["order_ref"] or "-",
            one["payment_ref"] or "-",
            _side(one["theirs"]),
            _side(one["ours"]),
            one["id"][:12],
        )
        for one in report["differences"]
    ]
    return [*(lines(DIFFERENCE_HEADINGS, rows) if rows else ()), ", ".join(said)]


def _side(wire: Mapping[str, Any] | None) -> str:
    """Say the state and the money that one side knows of; of a refund what was given back."""
    if wire is None:
        return "-"
    return f"{wire['kind'].partition('.')[2]} {_money(wire['refund'] or wire['amount'])}"
