"""The ceiling: what Flask under gunicorn can answer when the view does nothing at all."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.post("/<path:_path>")
def accept(_path: str) -> str:
    return "OK"
