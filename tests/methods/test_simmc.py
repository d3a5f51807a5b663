import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from simmc.cli import console
from simmc.cli.simmc import METHOD
from simmc.cli.training import outcome
from simmc.clustering import ClusterSettings, cluster_means, pseudo_labels
from simmc.errors import UserError
from simmc.evaluation import diagnostics
from simmc.methods import matching
from simmc.methods import simmc as method
from simmc.methods.loop import train, weights_path
from simmc.methods.matching import encode, match
from simmc.runs import checkpoints
from simmc.runs.directory import RunDirectory
from tests.methods import make
from tests.reference import training as literal

SWITCHES = ("mask_replay", "mpc_reduction", "zero_label_guard", "part_batches")


def weights_of(training):
    return {name: w.detach().clone() for name, w in training.network.state_dict().items()}


def assert_equal_weights(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def kept_frames(masks):
    return [[torch.nonzero(mask).flatten().tolist() for mask in window] for window in masks]


def some_labels(training, seed=0, outliers=0.1):
    """(q, N) labels of 7 clusters with outliers of their own; the second batch is cluster 0."""
    s = training.settings
    rng = np.random.default_rng(seed)
    n = len(training.train_windows)
    labels = np.where(rng.random((s.q, n)) < outliers, -1, rng.integers(0, 7, (s.q, n)))
    kept = np.nonzero((labels >= 0).all(0))[0]
    labels[0, kept[s.batch_size : 2 * s.batch_size]] = 0
    return torch.from_numpy(labels)


def with_labels(training, *rounds):
    """Lets the clustering of successive epochs give these labels."""
    left = list(rounds)
    training.cluster = lambda views: left.pop(0) if len(left) > 1 else left[0]
    return training


def run_all(training, folder=None):
    """Trains to the end; the records."""
    records = []
    run = RunDirectory(folder) if folder else None
    while not training.done:
        if run is None:
            records.append(training.run_epoch()[0])
        else:
            train(training, run, records.append)
    return records


def without_seconds(records):
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


# features, clustering and evaluation of an epoch


@pytest.mark.parametrize("scope", ["batch", "window"])
@pytest.mark.parametrize("changes", [{}, {"mask_x": 3, "mask_x_2": 1}, {"q": 1, "lambda_": 0.0}])
def test_feature_pass_equals_the_loop(scope, changes):
    training = make.in_double(make.training(mask_scope=scope, **changes))
    masks = training.draw_masks()
    views = encode(training.network, training.train_windows, masks.double())
    weights = weights_of(training)
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
    labels = training.cluster(views.unbind(1)).numpy()
    s = training.settings
    how = ClusterSettings(s.eps, s.min_samples, s.k1, s.k2, jaccard_input == "normalised")
    for i in range(2):
        rows = np.ascontiguousarray(views[:, i].numpy())
        np.testing.assert_array_equal(labels[i], pseudo_labels(rows, how).labels)
    assert labels.max() >= 3


@pytest.mark.parametrize("encoder", ["mlp", "none"])
def test_probes_are_matched_by_the_mean_of_unmasked_frames(encoder):
    training = make.training()
    network = training.network if encoder == "mlp" else None
    found = match(network, training.data, training.runtime)
    weights = weights_of(training)

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


def test_an_epoch_is_judged_by_the_weights_before_its_steps(tmp_path):
    training = make.training(epochs=2)
    run = RunDirectory(tmp_path)
    before = {}
    step = training.run_epoch

    def watched():
        before[training.epoch] = weights_of(training)
        return step()

    training.run_epoch = watched
    train(training, run, lambda record: None)
    for protocol in ("paper", "label_free"):
        kept = checkpoints.load(weights_path(run, protocol))
        assert kept["epoch"] == training.selectors[protocol].best_epoch >= 1
        assert_equal_weights(kept["network"], before[kept["epoch"]])
    assert not torch.equal(before[1]["output.weight"], before[2]["output.weight"])


def test_the_first_epoch_is_shown_but_never_chosen():
    training = make.training(epochs=0)
    (record,) = run_all(training)
    assert "top1" in record and record["epoch"] == 0
    assert outcome(METHOD, training, RunDirectory(Path("nowhere")), "paper") is None


def test_diagnostics_of_an_epoch():
    training = make.training(mact=True)
    record, _ = training.run_epoch()
    labels, truth = training.previous_labels, training.data.train.identity
    kept = (labels >= 0).all(0)
    assert record["kept"] == kept.sum() and record["outliers"] == (~kept).sum()
    assert record["clusters_1"] == labels[0].max() + 1
    assert record["outliers_2"] == (labels[1] < 0).sum()
    assert record["mi"] == diagnostics.mutual_information(truth[kept], labels[0][kept])
    assert 0 < record["ami"] <= 1
    assert record["mACT"] > 1 and record["mRCL"] > 0
    assert set(record["seconds"]) >= {"features", "evaluation", "neighbours", "jaccard", "steps"}


def test_evaluation_every_few_epochs_and_at_the_last():
    records = run_all(make.training(eval_every=2, epochs=5))
    assert [r["epoch"] for r in records if "top1" in r] == [0, 2, 4, 5]


# gradient steps


def agree_with_the_literal_epoch(**changes):
    training = make.in_double(make.training(**changes))
    labels = some_labels(training)
    masks = training.draw_masks().double()
    kept = kept_frames(masks)
    masks = (masks > 0) / (masks > 0).sum(dim=2, keepdim=True).double()
    views = encode(training.network, training.train_windows, masks)
    before = weights_of(training)
    wanted, steps, means = literal.epoch_of_steps(
        before,
        training.train_windows,
        kept,
        views.unbind(1),
        labels.tolist(),
        training.settings,
    )
    record = training.contrast(views, masks, labels)
    assert record["steps"] == steps >= 8
    np.testing.assert_allclose([record["loss_mpc"], record["loss_mic"]], means, rtol=1e-6)
    after = weights_of(training)
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
    before = weights_of(training)
    training.run_epoch()
    after = weights_of(training)
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
        return weights_of(training)["output.weight"]

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


class Waits(TorchFunctionMode):
    """Counts the calls for which the CPU would wait for a GPU."""

    NAMES = frozenset({"cpu", "to", "item", "tolist", "numpy", "nonzero", "masked_select"})
    NAMES |= {"unique", "equal", "__int__", "__float__", "__bool__", "__index__", "__array__"}
    count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.count += getattr(function, "__name__", "") in self.NAMES
        return function(*args, **kwargs or {})


def test_no_step_waits_for_a_gpu():
    def waits(batch_size):
        training = make.training(batch_size=batch_size, zero_label_guard="on")
        masks = training.draw_masks()
        views = encode(training.network, training.train_windows, masks)
        labels = some_labels(training)
        with Waits() as mode:
            steps = training.contrast(views, masks, labels)["steps"]
        return steps, mode.count

    (many, in_many), (few, in_few) = waits(16), waits(64)
    assert many > few >= 1
    assert in_many == in_few > 0


def test_an_epoch_stays_on_its_device():
    """SIMMC_TEST_DEVICE=cuda has it run on a GPU; the yardstick is the CPU."""
    device = os.environ.get("SIMMC_TEST_DEVICE", "cpu")
    trainings = make.training(), make.training(device=device)
    labels = some_labels(trainings[0])
    records = []
    for training in trainings:
        views = encode(training.network, training.train_windows, training.draw_masks())
        found = training.cluster(views.unbind(1))
        kinds = {t.device.type for t in (views, found, training.optimizer.vector)}
        assert kinds == {training.runtime.device.type}
        with_labels(training, labels.to(training.runtime.device))
        records.append(training.run_epoch()[0])
    for name in ("loss_mpc", "loss_mic", "top1", "mAP"):
        assert records[1][name] == pytest.approx(records[0][name], rel=0.01)
    assert records[1]["steps"] == records[0]["steps"] > 0


# epochs out of the ordinary


def line(record, training, capsys):
    console.epoch(record, training, None)
    return capsys.readouterr().out


@pytest.mark.parametrize("part_batches", ["drop", "keep"])
def test_an_epoch_of_nothing_but_outliers(part_batches, capsys):
    training = make.training(part_batches=part_batches)
    before = weights_of(training)
    with_labels(training, torch.full((2, len(training.train_windows)), -1))
    record, best = training.run_epoch()
    assert (record["steps"], record["clusters_1"], record["kept"]) == (0, 0, 0)
    assert record["label_free_score"] == 0
    assert "mi" not in record
    assert best == []
    assert_equal_weights(weights_of(training), before)
    assert "no step: every window is an outlier" in line(record, training, capsys)


def test_an_epoch_with_fewer_windows_than_a_batch(capsys):
    training = make.training()
    before = weights_of(training)
    labels = torch.full((2, len(training.train_windows)), -1)
    labels[:, :15] = torch.arange(15) % 3
    with_labels(training, labels)
    record, _ = training.run_epoch()
    assert (record["steps"], record["kept"]) == (0, 15)
    assert_equal_weights(weights_of(training), before)
    assert "no step: 15 windows kept, fewer than a batch" in line(record, training, capsys)


@pytest.mark.parametrize("guard", ["on", "off"])
def test_an_epoch_of_one_cluster(guard, capsys):
    training = make.training(zero_label_guard=guard)
    with_labels(training, torch.zeros((2, len(training.train_windows)), dtype=torch.int64))
    record, _ = training.run_epoch()
    assert record["steps"] > 0
    assert record["loss_mpc"] == 0
    assert record["label_free_score"] == 0
    assert all(torch.isfinite(w).all() for w in weights_of(training).values())
    assert "one cluster" in line(record, training, capsys)


def test_a_run_survives_barren_epochs(tmp_path):
    training = make.training(epochs=3)
    none = torch.full((2, len(training.train_windows)), -1)
    with_labels(training, some_labels(training), none, none, some_labels(training, 1))
    records = run_all(training, tmp_path)
    assert [bool(r.get("steps")) for r in records] == [True, False, False, False]
    assert all(np.isfinite(r["top1"]) for r in records)


def test_an_ordinary_epoch_has_no_remark():
    record, _ = make.training().run_epoch()
    assert record["steps"] > 0
    assert console.remark(record) == ""


def test_divergence_is_the_users_error():
    training = make.training(lr=1e30, epochs=9)
    with pytest.raises(UserError, match=r"epoch \d.*diverged.*smaller --lr \(it is 1e\+30\)"):
        run_all(training)


# the label-free protocol and what it must not see


def chosen(data, folder, **changes):
    """What the label-free protocol makes of an experiment."""
    folder.mkdir()
    training = make.training(data, **{"epochs": 6, "patience": 2, "lr": 3e-3, **changes})
    run_all(training, folder)
    kept = checkpoints.load(folder / "label_free.pt")
    return training, kept


def others(data):
    """The experiment with other identities, other windows, and fewer of them, in the tests."""
    rng = np.random.default_rng(9)
    yield make.exchanged(data, "probe", identity=rng.permutation(data.probe.identity))
    yield make.exchanged(data, "gallery", identity=data.gallery.identity * 0)
    for role in ("probe", "gallery"):
        windows = getattr(data, role).windows
        yield make.exchanged(data, role, windows=rng.permutation(windows))
        yield make.exchanged(data, role, windows=100 * windows, identity=data.probe.identity)
    yield replace(data, probe=data.gallery, gallery=data.gallery)


@pytest.mark.parametrize("selection", ["probe", "label_free"])
def test_probe_and_gallery_decide_nothing_for_label_free(selection, tmp_path):
    data = make.experiment()
    training, kept = chosen(data, tmp_path / "plain", selection=selection)
    paper = [training.selectors["paper"].best_epoch]
    for number, other in enumerate(others(data)):
        changed, kept_changed = chosen(other, tmp_path / str(number), selection=selection)
        assert changed.selectors["label_free"] == training.selectors["label_free"]
        assert kept_changed["epoch"] == kept["epoch"]
        assert_equal_weights(kept_changed["network"], kept["network"])
        paper.append(changed.selectors["paper"].best_epoch)
    assert len(set(paper)) > 1  # the other protocol did see it


def test_identities_of_training_windows_decide_nothing():
    data = make.experiment()
    shuffled = np.random.default_rng(3).permutation(data.train.identity)
    other = make.exchanged(data, "train", identity=shuffled)
    first, second = (make.training(d, epochs=3, class_sampling="off") for d in (data, other))
    records, changed = (without_seconds(run_all(t)) for t in (first, second))
    assert_equal_weights(weights_of(first), weights_of(second))
    assert first.selectors == second.selectors
    for a, b in zip(records, changed, strict=True):
        differing = {k for k in a if a[k] != b.get(k)}
        assert differing <= {"mi", "ami", "mACT", "mRCL"}
    assert any(a["ami"] != b["ami"] for a, b in zip(records, changed, strict=True))


def test_label_free_alone_never_looks_at_probe_and_gallery(monkeypatch):
    def looked(*args, **kwargs):
        raise AssertionError("probe or gallery was looked at")

    monkeypatch.setattr(method, "match", looked)
    records = run_all(make.training(protocols=("label_free",)))
    assert not any("top1" in record for record in records)


def test_one_view_is_scored_against_the_epoch_before():
    training = make.training(q=1, mask_x=0, lambda_=0.0, epochs=2)
    records = run_all(training)
    assert records[0]["label_free_score"] is None
    assert all(0 <= r["label_free_score"] <= 1 for r in records[1:])
    assert records[0]["loss_mic"] == 0


@pytest.mark.parametrize(
    ("selection", "paper", "label_free", "done"),
    [
        ("probe", 2, 1, False),
        ("probe", 1, 2, False),
        ("probe", 2, 2, True),
        ("label_free", 1, 2, True),
        ("label_free", 2, 1, False),
    ],
)
def test_who_ends_a_run(selection, paper, label_free, done):
    training = make.training(selection=selection, patience=2)
    training.selectors["paper"].waited = paper
    training.selectors["label_free"].waited = label_free
    assert training.done is done


def test_a_protocol_that_is_alone_ends_its_run():
    for protocol in ("paper", "label_free"):
        for selection in ("probe", "label_free"):
            training = make.training(protocols=(protocol,), selection=selection, patience=2)
            assert not training.done
            training.selectors[protocol].waited = 2
            assert training.done


# going on, and going again


def test_the_same_seed_gives_the_same_run():
    first, second = make.training(seed=4), make.training(seed=4)
    assert without_seconds(run_all(first)) == without_seconds(run_all(second))
    assert_equal_weights(weights_of(first), weights_of(second))
    other = make.training(seed=5)
    run_all(other)
    assert (weights_of(other)["output.weight"] != weights_of(first)["output.weight"]).any()


@pytest.mark.parametrize(
    "changes", [{}, {"q": 1, "mask_x": 0, "lambda_": 0}, {"mask_scope": "window", "eval_every": 2}]
)
def test_a_restored_training_goes_on_bit_for_bit(changes, tmp_path):
    whole = make.training(epochs=5, **changes)
    records = run_all(whole)
    first = make.training(epochs=5, **changes)
    for _ in range(3):
        first.run_epoch()
    path = tmp_path / "last.pt"
    checkpoints.save(path, first.state())
    second = make.training(epochs=5, **changes)
    second.restore(checkpoints.load(path), path)
    assert second.selectors == first.selectors
    assert without_seconds(run_all(second)) == without_seconds(records[3:])
    assert_equal_weights(weights_of(second), weights_of(whole))
    for moment in ("first", "second", "vector"):
        assert torch.equal(getattr(second.optimizer, moment), getattr(whole.optimizer, moment))
    assert second.seeds.state() == whole.seeds.state()


def test_a_guess_of_neighbours_decides_nothing():
    """A checkpoint does not hold it, so a continued run begins without."""
    with_guess, without = make.training(), make.training()
    views = encode(with_guess.network, with_guess.train_windows, with_guess.draw_masks())
    with_guess.cluster(views.unbind(1))
    assert with_guess.candidates
    assert torch.equal(with_guess.cluster(views.unbind(1)), without.cluster(views.unbind(1)))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"H": 8}, "size mismatch"),
        ({"D": 2}, "cannot be continued"),
        ({"data": make.experiment(train=24)}, "comes from other training windows"),
        ({"data": make.experiment(seed=5)}, "comes from other training windows"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused_by_name(other, said, tmp_path):
    state = make.training().state()
    path = tmp_path / "last.pt"
    with pytest.raises(UserError, match=said) as error:
        make.training(**other).restore(state, path)
    assert str(path) in str(error.value)
    assert "--resume" in str(error.value)


def test_an_incomplete_checkpoint_is_refused_by_name(tmp_path):
    state = make.training().state()
    del state["selectors"]
    with pytest.raises(UserError, match=r"last\.pt cannot be continued"):
        make.training().restore(state, tmp_path / "last.pt")


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
