"""Words that choose an answer."""

import os
import time
from collections.abc import Mapping

from flask import Response, abort, g

# Word in a reference, digits at its end that mean the same, and what the API then says; a provider that has no such
# state says what it always says.
WORDS: Mapping[str, str] = {
    "differs": "000900001",  # another amount
    "nothing": "000900002",  # no record
    "declined": "000900003",  # a negative record; HASO: all instalments canceled
    "fault": "000900004",  # HTTP 500
    "limited": "000900005",  # HTTP 429
    "html": "000900006",  # a page instead of JSON
    "other": "000900007",  # the record of another payment
    "partial": "000900008",  # a partial refund after the sale; HASO: one instalment canceled
    "slow": "000900009",  # the usual answer, but after SLOW seconds
    "refunded": "000900010",  # all given back after the sale
    "voided": "000900011",  # the sale was reversed on its day
    "pending": "000900012",  # not decided yet; no record where the API tells of none before
    "paid": "000900013",  # HASO: all instalments paid
    "partly": "000900014",  # HASO: all instalments paid in part
    "overdue": "000900015",  # HASO: all instalments past their day
}
SLOW = float(os.environ.get("SANDBOX_SLOW", "30"))
_STATUSES = {"fault": 500, "limited": 429}


def word_of(*references: str) -> str:
    """Return the word of the path, else the first one in *references*, else nothing."""
    of_path: str = g.word
    return of_path or _word_in(references)


def behave(word: str) -> None:
    """Answer at once where *word* asks for an answer that is none, and late where it asks for that."""
    if word in _STATUSES:
        abort(_STATUSES[word])
    if word == "html":
        abort(Response("<html><body>maintenance</body></html>", 200, content_type="text/html"))
    if word == "slow":
        time.sleep(SLOW)


def behave_as(*references: str) -> None:
    """Behave as the word in *references* asks; a word in the path has had its way already."""
    if not g.word:
        behave(_word_in(references))


def _word_in(references: tuple[str, ...]) -> str:
    said = ((word, word in one or one.endswith(digits)) for one in references for word, digits in WORDS.items())
    return next((word for word, found in said if found), "")
