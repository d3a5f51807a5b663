"""SimMC without labels, and with one view."""

from simmc.engine import training
from tests.methods import make


def test_label_free_alone_never_looks_at_probe_and_gallery(monkeypatch):
    def looked(*args, **kwargs):
        raise AssertionError("probe or gallery was looked at")

    monkeypatch.setattr(training, "match_encoded", looked)
    records = make.run_all(make.training(protocols=("label_free",)))
    assert not any("top1" in record for record in records)


def test_one_view_is_scored_against_the_epoch_before():
    training = make.training(q=1, mask_x=0, lambda_=0.0, epochs=2)
    records = make.run_all(training)
    assert records[0]["label_free_score"] is None
    assert all(0 <= r["label_free_score"] <= 1 for r in records[1:])
    assert records[0]["loss_mic"] == 0
