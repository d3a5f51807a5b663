from types import SimpleNamespace

import numpy as np
import pytest
import torch

from simmc.cli import console
from simmc.clustering import ClusterSettings, cluster_means, pseudo_labels
from simmc.engine.run import score_stage
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.methods.simmc import METHOD
from simmc.runs.directory import RunDirectory
from simmc.scoring import match as matching
from simmc.scoring.match import MatchRule, encode, match
from tests.methods import make
from tests.reference import training as literal


def kept_frames(masks):
    return [[torch.nonzero(mask).flatten().tolist() for mask in window] for window in masks]


def some_labels(training, seed=0, outliers=0.1):
    """(q, N) labels of 7 clusters with outliers of their own; the second batch is cluster 0."""
    shape = training.settings.recipe.q, len(training.train_windows)
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(shape) < outliers, -1, rng.integers(0, 7, shape))
    kept = np.nonzero((labels >= 0).all(0))[0]
    size = training.settings.windows.batch_size
    labels[0, kept[size : 2 * size]] = 0
    return torch.from_numpy(labels)


def with_labels(training, *rounds):
    """Lets the clustering of successive epochs give these labels."""
    left = list(rounds)
    training.pseudo.of = lambda views: left.pop(0) if len(left) > 1 else left[0]
    return training


# features, clustering and evaluation of an epoch


@pytest.mark.parametrize("scope", ["batch", "window"])
@pytest.mark.parametrize("changes", [{}, {"mask_x": 3, "mask_x_2": 1}, {"q": 1, "lambda_": 0.0}])
def test_feature_pass_equals_the_loop(scope, changes):
    training = make.in_double(make.training(mask_scope=scope, **changes))
    masks = training.draw_masks()
    views = encode(training.network, training.train_windows, masks.double())
    weights = make.weights_of(training)
    for n, kept in enumerate(kept_frames(masks)):
        for i, frames in enumerate(kept):
            wanted = literal.encode(weights, training.train_windows[n], frames)
            torch.testing.assert_close(views[n, i], wanted, rtol=1e-6, atol=1e-6)


def test_masks_are_shared_by_a_batch_or_belong_to_a_window():
    size = make.SMALL["batch_size"]
    by_batch = make.training(mask_scope="batch").draw_masks()
    for rows in by_batch.split(size):
        assert (rows == rows[0]).all()
    by_window = make.training(mask_scope="window").draw_masks()
    assert not any((rows == rows[0]).all() for rows in by_window.split(size))


def test_large_sets_are_encoded_in_parts(monkeypatch):
    training = make.training()
    masks = training.draw_masks()
    whole = encode(training.network, training.train_windows, masks)
    monkeypatch.setattr(matching, "ENCODE_BATCH", 7)
    parts = encode(training.network, training.train_windows, masks)
    torch.testing.assert_close(parts, whole)


@pytest.mark.parametrize("jaccard_input", ["raw", "normalised"])
def test_each_view_is_clustered_on_its_own(jaccard_input):
    training = make.training(jaccard_input=jaccard_input)
    views = encode(training.network, training.train_windows, training.draw_masks())
    labels = training.pseudo.of(views.unbind(1)).numpy()
    s = training.settings.clustering
    how = ClusterSettings(s.eps, s.min_samples, s.k1, s.k2, jaccard_input == "normalised")
    for i in range(2):
        rows = np.ascontiguousarray(views[:, i].numpy())
        np.testing.assert_array_equal(labels[i], pseudo_labels(rows, how).labels)
    assert labels.max() >= 3


@pytest.mark.parametrize("encoder", ["mlp", "none"])
def test_probes_are_matched_by_the_mean_of_unmasked_frames(encoder):
    training = make.training()
    network = training.network if encoder == "mlp" else None
    found = match(network, training.data, training.runtime, MatchRule())
    weights = make.weights_of(training)

    def features(split):
        windows = torch.from_numpy(split.windows.reshape(len(split), make.LENGTH, -1))
        if encoder == "none":
            return windows.mean(dim=1).numpy()
        frames = range(make.LENGTH)
        return torch.stack([literal.encode(weights, w, frames) for w in windows]).numpy()

    probe, gallery = training.data.probe, training.data.gallery
    distance = np.linalg.norm(features(probe)[:, None] - features(gallery)[None], axis=2)
    right = gallery.identity[distance.argmin(axis=1)] == probe.identity
    assert found.top(1) == right.mean()
    assert 0 < found.map <= 1


def test_the_first_epoch_is_shown_but_never_chosen(tmp_path):
    training = make.training(epochs=0)
    (record,) = make.run_all(training)
    assert "top1" in record and record["epoch"] == 0
    assert score_stage(METHOD, training, RunDirectory(tmp_path), "paper") is None


def test_diagnostics_of_an_epoch():
    training = make.training(mact=True)
    record, _ = training.run_epoch()
    labels, truth = training.pseudo.previous, training.data.train.identity
    kept = (labels >= 0).all(0)
    assert record["kept"] == kept.sum() and record["outliers"] == (~kept).sum()
    assert record["clusters_1"] == labels[0].max() + 1
    assert record["outliers_2"] == (labels[1] < 0).sum()
    assert record["mi"] == diagnostics.mutual_information(truth[kept], labels[0][kept])
    assert 0 < record["ami"] <= 1
    assert record["mACT"] > 1 and record["mRCL"] > 0
    assert set(record["seconds"]) >= {"features", "evaluation", "neighbours", "jaccard", "steps"}


# gradient steps


def agree_with_the_literal_epoch(**changes):
    training = make.in_double(make.training(**changes))
    labels = some_labels(training)
    masks = training.draw_masks().double()
    kept = kept_frames(masks)
    masks = (masks > 0) / (masks > 0).sum(dim=2, keepdim=True).double()
    views = encode(training.network, training.train_windows, masks)
    before = make.weights_of(training)
    wanted, steps, means = literal.epoch_of_steps(
        before,
        training.train_windows,
        kept,
        views.unbind(1),
        labels.tolist(),
        SimpleNamespace(**training.settings.flat()),
    )
    record = training.contrast(views, masks, labels)
    assert record["steps"] == steps >= 8
    np.testing.assert_allclose([record["loss_mpc"], record["loss_mic"]], means, rtol=1e-6)
    after = make.weights_of(training)
    for name in wanted:
        torch.testing.assert_close(after[name], wanted[name], rtol=0, atol=1e-6)
    trained = (after["hidden.0.weight"] - before["hidden.0.weight"]).abs().max()
    assert trained > 1e-3  # they have gone a thousand times as far
    return after


@pytest.fixture(scope="module")
def released():
    return agree_with_the_literal_epoch()


def test_released_steps_equal_the_literal_epoch(released):
    assert released


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_replay": "window"},
        {"mpc_reduction": "mean"},
        {"zero_label_guard": "off"},
        {"part_batches": "keep"},
        {"mask_scope": "window"},
        {"lambda_": 0.9, "t": 0.5, "lr": 1e-3},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_every_switch_equals_the_literal_epoch_and_matters(changes, released):
    after = agree_with_the_literal_epoch(**changes)
    assert (after["output.weight"] - released["output.weight"]).abs().max() > 1e-5


def test_the_exact_level_equals_the_literal_epoch():
    agree_with_the_literal_epoch(
        mask_scope="window",
        mask_replay="window",
        mpc_reduction="mean",
        zero_label_guard="off",
        part_batches="keep",
    )


def test_the_ablations_are_settings():
    """Table 4: MPC alone, and NPC: one unmasked view, whose only term is not doubled."""
    agree_with_the_literal_epoch(lambda_=0.0)
    for mpc_reduction in ("sum", "mean"):
        agree_with_the_literal_epoch(
            q=1, mask_x=0, lambda_=0.0, mpc_reduction=mpc_reduction, mask_replay="window"
        )


def test_without_mic_the_predictor_stays_where_it_was():
    training = make.training(lambda_=0.0)
    before = make.weights_of(training)
    training.run_epoch()
    after = make.weights_of(training)
    assert torch.equal(before["predictor.weight"], after["predictor.weight"])
    assert not torch.equal(before["output.weight"], after["output.weight"])


def test_outliers_take_no_step_but_count_in_the_prototypes_of_the_other_view():
    def after(change):
        training = make.training(part_batches="keep", mask_replay="window")
        labels = some_labels(training)
        masks = training.draw_masks()
        views = encode(training.network, training.train_windows, masks)
        lone = int(torch.nonzero((labels[0] < 0) & (labels[1] >= 0))[0, 0])
        change(training, views, lone)
        training.contrast(views, masks, labels)
        return make.weights_of(training)["output.weight"]

    def nothing(training, views, lone):
        pass

    def its_window(training, views, lone):
        training.train_windows = training.train_windows.clone()
        training.train_windows[lone] += 1

    def its_feature_where_it_is_an_outlier(training, views, lone):
        views[lone, 0] += 1

    def its_feature_where_it_is_none(training, views, lone):
        views[lone, 1] += 1

    plain = after(nothing)
    assert torch.equal(after(its_window), plain)
    assert torch.equal(after(its_feature_where_it_is_an_outlier), plain)
    assert not torch.equal(after(its_feature_where_it_is_none), plain)


# epochs out of the ordinary


def line(record, training, capsys):
    console.CONSOLE.epoch(record, training, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("part_batches", ["drop", "keep"])
def test_an_epoch_of_nothing_but_outliers(part_batches, capsys):
    training = make.training(part_batches=part_batches)
    before = make.weights_of(training)
    with_labels(training, torch.full((2, len(training.train_windows)), -1))
    record, best = training.run_epoch()
    assert (record["steps"], record["clusters_1"], record["kept"]) == (0, 0, 0)
    assert record["label_free_score"] == 0
    assert "mi" not in record
    assert best == []
    make.assert_equal_weights(make.weights_of(training), before)
    assert "no step: every window is an outlier" in line(record, training, capsys)


def test_an_epoch_with_fewer_windows_than_a_batch(capsys):
    training = make.training()
    before = make.weights_of(training)
    labels = torch.full((2, len(training.train_windows)), -1)
    labels[:, :15] = torch.arange(15) % 3
    with_labels(training, labels)
    record, _ = training.run_epoch()
    assert (record["steps"], record["kept"]) == (0, 15)
    make.assert_equal_weights(make.weights_of(training), before)
    assert "no step: 15 windows kept, fewer than a batch" in line(record, training, capsys)


@pytest.mark.parametrize("guard", ["on", "off"])
def test_an_epoch_of_one_cluster(guard, capsys):
    training = make.training(zero_label_guard=guard)
    with_labels(training, torch.zeros((2, len(training.train_windows)), dtype=torch.int64))
    record, _ = training.run_epoch()
    assert record["steps"] > 0
    assert record["loss_mpc"] == 0
    assert record["label_free_score"] == 0
    assert all(torch.isfinite(w).all() for w in make.weights_of(training).values())
    assert "one cluster" in line(record, training, capsys)


def test_a_run_survives_barren_epochs(tmp_path):
    training = make.training(epochs=3)
    none = torch.full((2, len(training.train_windows)), -1)
    with_labels(training, some_labels(training), none, none, some_labels(training, 1))
    records = make.run_all(training, tmp_path)
    assert [bool(r.get("steps")) for r in records] == [True, False, False, False]
    assert all(np.isfinite(r["top1"]) for r in records)


def test_an_ordinary_epoch_has_no_remark():
    record, _ = make.training().run_epoch()
    assert record["steps"] > 0
    assert console.remark(record) == ""


def test_divergence_is_the_users_error():
    training = make.training(lr=1e30, epochs=9)
    with pytest.raises(UserError, match=r"epoch \d.*diverged.*smaller --lr \(it is 1e\+30\)"):
        make.run_all(training)


# prototypes, and the search for neighbours


def test_prototypes_of_the_epoch_are_cluster_means_of_the_masked_views():
    training = make.training()
    views = encode(training.network, training.train_windows, training.draw_masks())
    labels = some_labels(training)
    for view, y in zip(views.unbind(1), labels, strict=True):
        wanted = torch.stack(literal.prototypes(view.double(), y.tolist()))
        torch.testing.assert_close(cluster_means(view, y), wanted.float())


def test_an_approximate_search_says_what_it_found(monkeypatch):
    exact = make.training().run_epoch()[0]
    assert "recall" not in exact
    few = make.training(neighbors="approximate").run_epoch()[0]
    assert few["recall"] == 1.0  # so few windows are searched exactly
    assert few["clusters_1"] == exact["clusters_1"]
    for name, value in {"EXACT_UP_TO": 50, "LEAF": 32, "SAMPLE": 60}.items():
        monkeypatch.setattr(f"simmc.clustering.approximate.{name}", value)
    rough = make.training(neighbors="approximate", recall=0.9).run_epoch()[0]
    assert 0.9 <= rough["recall"] <= 1.0
