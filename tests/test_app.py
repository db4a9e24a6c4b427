"""The application as gunicorn gets it, with a Redis that is not there."""

from pathlib import Path

import pytest

from receiver import app, config
from receiver.errors import ConfigError
from tests.config_files import ENV, PARATIKA
from tests.samples import readable


@pytest.fixture
def settings(tmp_path: Path, metrics_folder: Path) -> config.Settings:
    assert metrics_folder.is_dir()
    path = tmp_path / "ulak.toml"
    path.write_text(PARATIKA)
    environ = ENV | {"ULAK_CONFIG": str(path), "REDIS_URL": f"unix://{tmp_path / 'none.sock'}"}
    return config.load(environ)


def test_an_application_starts_without_redis_and_keeps_callbacks(settings: config.Settings) -> None:
    client = app.create_app(settings).test_client()
    assert not (settings.data / "spool.db").exists()
    vector = readable("paratika")[0]
    answer = client.post("/callbacks/paratika/shop/return", data=vector.body, content_type=vector.content_type)

    assert answer.status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json == {"status": "degraded", "reason": "redis_unreachable"}
    assert 'ulak_spool_rows{state="waiting"} 1.0' in client.get("/metrics").text


def test_where_nothing_can_be_kept_it_asks_to_try_again(settings: config.Settings) -> None:
    (settings.data / "spool.db").mkdir(parents=True)
    client = app.create_app(settings).test_client()
    vector = readable("paratika")[0]
    for changed in (vector, vector.changed(amount="1e3")):  # the second would go to quarantine
        answer = client.post("/callbacks/paratika/shop/return", data=changed.body, content_type=changed.content_type)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert "spool_refused" in answer.text

    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").json == {"status": "unavailable", "reason": "spool_refused"}
    assert client.get("/metrics").status_code == 200


def test_what_is_refused_is_answered_without_redis(settings: config.Settings) -> None:
    client = app.create_app(settings).test_client()
    answers = [client.post("/callbacks/paratika/shop/return", data={"responseCode": "00"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [403] * 3


def test_without_a_configuration_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULAK_CONFIG", str(tmp_path / "none.toml"))

    with pytest.raises(ConfigError):
        app.create_app()
