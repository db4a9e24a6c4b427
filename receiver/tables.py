"""Plain text tables and one-line descriptions of events, for a terminal or a pipe."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADINGS = ("received", "event", "from", "order", "amount", "trust", "id")
_WIDTHS = (8, 24, 20, 22, 14, 8, 12)


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
    amount = data["amount"]
    row = (
        data["received_at"][11:19],
        event["type"],
        event["source"].lstrip("/"),
        data["order_ref"] or "-",
        f"{amount['value']} {amount['currency']}" if amount else "-",
        data["trust"]["level"],
        event["id"][:12],
    )
    return _line(row, _WIDTHS)
