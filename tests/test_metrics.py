"""What Prometheus gets."""

import pytest

from receiver import metrics
from receiver.metrics import PrometheusMetrics
from tests.accounts import SANDBOX
from tests.desk import Desk
from tests.samples import readable


def sample(name: str, **labels: str) -> float:
    """Return one number of the exposition, 0 where it is not there."""
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    for line in body.decode().splitlines():
        found, _, value = line.rpartition(" ")
        if found.startswith(name + "{") and all(f'{label}="{text}"' in found for label, text in labels.items()):
            return float(value)
    return 0.0


@pytest.mark.usefixtures("metrics_folder")
def test_callbacks_events_times_and_strangers_are_counted() -> None:
    counted = PrometheusMetrics()
    for _ in range(3):
        counted.callback("paratika", "counted", "return", "accepted", "", 0.002)
    counted.callback("paratika", "counted", "return", "refused", "bad_signature", 0.002)
    counted.event("paratika", "counted", "payment.succeeded")
    counted.event("paratika", "counted", "payment.succeeded")
    counted.unaccounted("counted", 2)

    assert sample("ulak_callbacks_total", account="counted", outcome="accepted", reason="") == 3
    assert sample("ulak_callbacks_total", account="counted", outcome="refused", reason="bad_signature") == 1
    assert sample("ulak_events_total", account="counted", kind="payment.succeeded") == 2
    assert sample("ulak_fields_unaccounted_total", provider="counted") == 2
    assert sample("ulak_callback_seconds_count", provider="paratika") >= 4


@pytest.mark.usefixtures("metrics_folder")
def test_no_label_holds_anything_that_was_sent() -> None:
    desk = Desk()
    vector = readable("paratika")[0]
    vector.send(desk)
    desk.client.post("/callbacks/stranger-provider/stranger-account/stranger-channel/stranger-token")
    counted = PrometheusMetrics()
    for callback in desk.metrics.callbacks:
        counted.callback(*callback, 0.001)
    shown = metrics.exposition()[0].decode()

    assert "stranger-" not in shown
    assert vector.sent("merchantPaymentId") not in shown
    assert SANDBOX not in shown
