"""
The providers' query APIs, played on this machine: ``python -m workers.sandbox_api PORT``. For `ulak up` and tests only.

It speaks each API as documented, with the credentials of the sandbox configuration. What it says of a payment is in the
payment's own reference: a word there, or digits at its end where only digits are allowed, chooses the answer (WORDS).
Without a word it agrees with the samples of ``ulak simulate``. A word before the path chooses every answer of an
account: with ``base_url = ".../as/limited/paynet"`` Paynet always has enough of us.

Lists tell what was recorded here with ``POST /-/payments`` (``sandbox_api.ledger``), and nothing else. A word that
stands for no answer at all (fault, limited, html, slow) does not spoil the list that the payment is in.
"""

from flask import Flask, Response, abort, g, jsonify
from marshmallow import ValidationError

from workers.sandbox_api import haso, ledger, paratika, payguru, paynet, phs, zotlo
from workers.sandbox_api.credentials import SECRET, SECRETS
from workers.sandbox_api.words import WORDS, behave

__all__ = ["SECRET", "SECRETS", "WORDS", "create_api"]


def create_api() -> Flask:
    """Build the WSGI application, with an empty ledger and nothing counted."""
    api = Flask("sandbox_api", static_folder=None)
    api.extensions |= {"ledger": ledger.Ledger(), "counts": payguru.Counts()}
    api.register_blueprint(ledger.api)
    for played in (paratika, paynet, payguru, phs, zotlo, haso):
        api.register_blueprint(played.api)
        api.register_blueprint(played.api, url_prefix="/as/<word>", name=f"{played.api.name}-as")
    api.url_value_preprocessor(_take_word)
    api.before_request(_behave)
    api.register_error_handler(ValidationError, _unreadable)
    return api


def _take_word(endpoint: str | None, values: dict[str, str] | None) -> None:
    del endpoint
    g.word = values.pop("word", "") if values else ""


def _behave() -> None:
    if g.word and g.word not in WORDS:
        abort(404)
    behave(g.word)


def _unreadable(error: Exception) -> tuple[Response, int]:
    return jsonify(errors=error.messages if isinstance(error, ValidationError) else None), 400
