"""TrackMC's recipe: which windows meet which prototypes, what each tier knows, what has no say."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from simmc.clustering import Threads
from simmc.errors import UserError
from simmc.losses import shared_prototype_contrast
from simmc.methods.trackmc import (
    FITTED,
    WINDOWS,
    TrackMC,
    TrackMCSettings,
    encode,
    remarks,
    stage_of,
)
from simmc.models.optimizer import FlatAdam
from simmc.runs.runtime import generators
from simmc.scoring.match import MatchRule
from simmc.settings.layers import resolve
from tests.methods import make
from tests.methods.make import CPU

RULE = MatchRule()
SMALL = {
    "dataset": "KGBD",
    "H": 16,
    "batch_size": 16,
    "epochs": 4,
    "k1": 10,
    "k2": 4,
    "recordings": "merge",
}
SINGLE = {"k1": 20, "k2": 6, "part_size": 1, "eps": 0.6}
BOTH = ("paper", "label_free")


def experiment(each=3, known=True, **sizes):
    """Persons of five joints; `each` recordings of a person, the windows dealt out to them."""
    data = make.experiment(**sizes)
    identity = data.train.identity
    place = np.empty_like(identity)
    for person in np.unique(identity):
        own = np.flatnonzero(identity == person)
        place[own] = np.arange(len(own)) % each
    recording = 100 + identity * each + place if known else None
    return replace(data, train=replace(data.train, recording=recording))


def training(data=None, seed=0, protocols=BOTH, **changes):
    chosen = TrackMCSettings.of(**SMALL | {"seed": seed} | changes)
    return TrackMC(chosen, data or experiment(), generators(seed), CPU, protocols)


def test_recordings_of_a_person_come_together():
    rows = make.run_all(training(**SINGLE))
    assert rows[0]["tracks"] == 24
    assert rows[3]["people"] == 8  # three recordings each
    assert rows[3]["ami"] == pytest.approx(1.0)
    assert rows[3]["kept"] == 200 and rows[3]["unsure"] == 0
    assert "people" not in rows[4]  # nothing is clustered after the last step
    assert rows[4]["mAP"] > rows[0]["mAP"]


def test_a_single_recording_of_a_person_is_a_person():
    rows = make.run_all(training(experiment(each=1), **SINGLE, parts=16))
    assert rows[3]["tracks"] == rows[3]["people"] == 8


AUTO = {**SINGLE, "recordings": "auto"}


def test_second_stage_begins_where_recordings_are_clear_cut():
    rows = make.run_all(training(**AUTO, epochs=6))
    assert [row["epoch"] for row in rows] == list(range(7))
    assert not any("ended" in row for row in rows)
    assert rows[5]["people"] == 8 and rows[5]["unsure"] == 0


def unclear(**changes):
    """A training whose recordings stay unsure: nearly all clusters are single and ambiguous."""
    return training(**AUTO | {"eps": 0.05, "unsure": 0.0, "epochs": 9} | changes)


@pytest.mark.parametrize(("k1", "begins"), [(24, True), (25, False)])
def test_second_stage_needs_a_recording_for_each_neighbour(k1, begins):
    """There are 24 recordings."""
    made = training(**AUTO | {"k1": k1}, epochs=6)
    make.run_all(made)
    assert (made.second is not None) == begins


def of_reach(monkeypatch, *values, steps=30, epochs=12):
    """The first stage with these values of the reach, epoch by epoch; an epoch has 13 steps."""
    monkeypatch.setattr("simmc.methods.trackmc.STEPS", steps)
    made = unclear(epochs=epochs)
    made.reach = lambda means: values[made.epoch]
    return made, make.run_all(made)


def chosen_of(rows):
    return [row["epoch"] for row in rows if row["reach_score"] is not None]


def test_first_stage_takes_its_steps_and_waits_for_clear_recordings(monkeypatch):
    made, rows = of_reach(monkeypatch, *[1.0] * 8)
    assert chosen_of(rows) == [0, 3] and len(rows) == 8
    assert rows[7]["ended"] and rows[7]["unsure"] > 0 and "steps" not in rows[7]
    assert made.selectors["label_free"].best_epoch == 3
    assert made.chosen_by("paper") == "top1"
    resumed = unclear(epochs=12)
    resumed.restore(made.state(), Path("last.pt"))
    assert resumed.done


def test_first_stage_goes_on_while_the_reach_grows(monkeypatch):
    """By 5 % of that of the last epoch that counts."""
    values = [1, 1.3, 1.3, 0.98, 1.02, 1.03, 1.08, 1.08, 1.07, 1.0]
    made, rows = of_reach(monkeypatch, *values)
    assert chosen_of(rows) == [0, 3, 5] and rows[9]["ended"]
    assert made.selectors["label_free"].best_epoch == 5


@pytest.mark.parametrize(("later", "kept"), [(0.96, 0), (0.98, 5)])
def test_first_stage_keeps_the_untrained_network_where_the_reach_falls(monkeypatch, later, kept):
    """By more than 3 %, for four epochs in a row."""
    made, rows = of_reach(monkeypatch, 1, 1, 1, 0.9, 0.9, later, *[0.9] * 6)
    assert made.selectors["label_free"].best_epoch == kept
    assert rows[-1]["ended"] and len(rows) == (10 if kept else 7)


def test_an_epoch_of_the_first_stage_has_no_more_than_its_steps(monkeypatch):
    """An epoch of all windows would have 13; the second stage takes them."""
    _, rows = of_reach(monkeypatch, *[1.0] * 6, steps=5)
    assert [row.get("steps") for row in rows] == [5] * 5 + [None] and chosen_of(rows) == [0, 1]
    monkeypatch.setattr("simmc.methods.trackmc.STEPS", 5)
    made = training(**AUTO, epochs=6)
    rows = make.run_all(made)
    assert made.second is not None and {row["steps"] for row in rows[made.second : -1]} == {13}


def test_the_last_epoch_of_a_short_first_stage_counts(monkeypatch):
    made, rows = of_reach(monkeypatch, *[1.0] * 6, steps=1000, epochs=5)
    assert chosen_of(rows) == [0, 5] and "ended" not in rows[-1]
    assert made.selectors["label_free"].best_epoch == 5


def test_two_recordings_have_no_reach_and_are_trained_for_the_steps(monkeypatch):
    monkeypatch.setattr("simmc.methods.trackmc.STEPS", 30)
    data = experiment()
    data = replace(data, train=replace(data.train, recording=data.train.identity % 2))
    made = training(data, **AUTO | {"epochs": 9})
    rows = make.run_all(made)
    assert {row["reach"] for row in rows} == {0} and rows[-1]["ended"]
    assert chosen_of(rows) == [0, 3]


def test_first_stage_learns_as_positives_do():
    """Up to the second stage: the clusters of its preset, but for the parts that are drawn."""
    made = unclear()
    preset = resolve(TrackMCSettings, ["--recordings", "positives"]).settings.flat()
    assert {name: preset[name] for name in WINDOWS} == WINDOWS
    plain = training(recordings="positives", **WINDOWS, k1=20, k2=6)
    for one in (made, plain):
        one.look()
    assert torch.equal(made.targets.share, plain.targets.share)
    assert torch.equal(made.targets.prototypes, plain.targets.prototypes)
    assert torch.equal(made.targets.ambiguous, plain.targets.ambiguous)


def test_what_is_typed_for_the_second_stage_alone_is_said():
    data = experiment()
    assert remarks(resolve(TrackMCSettings, []), data) == []
    assert remarks(resolve(TrackMCSettings, ["--recordings", "off", "--eps", "0.4"]), data) == []
    (said,) = remarks(resolve(TrackMCSettings, ["--eps", "0.4", "--lr", "0.1"]), data)
    assert said.startswith("--eps, --lr: of the second stage alone") and "eps 0.6" in said


@pytest.mark.parametrize(("k1", "count"), [(24, 0), (25, 1)])
def test_merge_of_fewer_recordings_than_neighbours_has_a_remark(k1, count):
    settings = resolve(TrackMCSettings, ["--recordings", "merge", "--k1", str(k1)])
    assert len(remarks(settings, experiment())) == count


def test_the_second_stage_is_merge_from_the_untrained_network(monkeypatch):
    """Its first epoch, but for the parts that are drawn: here each recording is one part."""
    made = training(**AUTO | {"parts": 1}, epochs=9)
    plain = training(**SINGLE | {"parts": 1}, epochs=9)
    start = copy.deepcopy(plain.network.state_dict())
    while made.second is None:
        made.run_epoch()
    again = training(**AUTO | {"parts": 1}, epochs=9)
    while again.epoch < made.second:
        again.run_epoch()
    again.look()
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, start[name])
    plain.look()
    assert torch.equal(again.targets.cluster, plain.targets.cluster)
    assert again.optimizer.steps == 0


def test_weights_of_the_first_stage_are_means_over_the_steps():
    made, seen = unclear(), []
    step = made.optimizer.step

    def noted():
        step()
        seen.append(made.optimizer.vector.clone())

    made.optimizer.step = noted
    made.run_epoch()
    assert len(seen) > 1
    torch.testing.assert_close(made.optimizer.vector, torch.stack(seen).mean(0))


def test_the_last_epoch_of_the_second_stage_is_chosen():
    """Whatever the reach."""
    made = training(**AUTO, epochs=6)
    made.reach = lambda means: 1.0 / (1 + made.epoch)
    rows = make.run_all(made)
    assert made.second is not None and made.second < 5
    assert made.selectors["label_free"].best_epoch == 6 and "ended" not in rows[-1]


def test_the_second_stage_ends_where_its_labels_are_fitted(monkeypatch):
    monkeypatch.setattr("simmc.methods.trackmc.FITTED", 10.0)
    made = training(**AUTO, epochs=9)
    rows = make.run_all(made)
    assert made.second is not None and len(rows) == made.second + 2
    assert rows[-1]["ended"] and not {"tracks", "steps"} & rows[-1].keys()  # not clustered again
    assert made.selectors["label_free"].best_epoch == made.second + 1


def test_second_stage_goes_on_after_a_resume(tmp_path):
    begun = lambda: training(**AUTO, epochs=6)  # noqa: E731
    make.assert_continues(begun, tmp_path, at=5)


def test_first_stage_goes_on_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("simmc.methods.trackmc.STEPS", 30)
    make.assert_continues(unclear, tmp_path, at=2)


def test_each_stage_has_its_rate():
    chosen = TrackMCSettings.of(**SMALL | AUTO | {"lr": 2.0})
    first, second = stage_of(chosen, second=False), stage_of(chosen, second=True)
    assert not first.whole and second.whole
    assert (first.lr, second.lr) == (chosen.first_lr, 2)


def test_windows_alone_know_of_no_recording():
    a = training(experiment(known=False), recordings="off")
    b = training(experiment(each=5), recordings="off")
    one, other = make.run_all(a), make.run_all(b)
    assert alike(one, other)
    assert "people" not in one[0] and one[0]["clusters_1"] + 0 > 0
    assert one[0]["outliers"] == 200 - one[0]["kept"]


def test_every_window_of_a_recording_has_its_targets():
    made = training(recordings="positives")
    made.targets = made.share(encode(made.network, made.windows), made.stage)
    assert len(made.targets.known) == 24
    # clusters of single windows: some recording is divided between several
    assert made.targets.share.shape[1] > 1
    torch.testing.assert_close(
        made.targets.share.sum(1)[made.targets.known],
        torch.ones(int(made.targets.known.sum())),
    )


@pytest.mark.parametrize("recordings", ["off", "positives", "merge"])
def test_an_epoch_is_the_steps_written_out(recordings):
    """Two epochs by hand, in float64: clusters, order, loss, Adam, mean of the weights."""
    made = training(recordings=recordings, mask_x=1, protocols=("label_free",))
    made.network.double()
    made.optimizer = FlatAdam(made.network, made.settings.training.lr)
    made.windows = made.windows.double()
    twin = copy.deepcopy(made)
    x, s = twin.windows, twin.settings
    optimizer = FlatAdam(twin.network, s.training.lr)
    for _ in range(2):
        made.run_epoch()
        targets = twin.share(twin.network(x).detach(), twin.stage)
        tracklet = twin.tracklet
        kept = np.array([i for i in range(len(x)) if targets.share[tracklet[i]].sum() > 0])
        kept = kept[twin.seeds.masks.permutation(len(kept))]
        dropped = twin.seeds.masks.random((len(x), 1, x.shape[1])).argsort(2)[:, 0] < 1
        steps = range(0, len(kept), 16)
        passed = []
        for low in steps:
            rows = kept[low : low + 16]
            weights = torch.from_numpy(~dropped[rows] / (x.shape[1] - 1.0)).float().double()
            loss = shared_prototype_contrast(
                twin.network(x[rows], weights),
                targets.cluster[tracklet[rows]],
                targets.share[tracklet[rows]].double(),
                targets.prototypes,
                s.t,
                torch.stack(
                    [targets.ambiguous[targets.cluster[tracklet[row]]].flatten() for row in rows]
                ),
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            passed.append(optimizer.vector.clone())
        optimizer.vector.copy_(torch.stack(passed).mean(0))
        for name, value in made.network.state_dict().items():
            torch.testing.assert_close(value, twin.network.state_dict()[name], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("recordings", ["off", "positives"])
def test_an_epoch_without_a_cluster_takes_no_steps(recordings):
    made = training(recordings=recordings, eps=1e-3, min_samples=100)
    before = copy.deepcopy(made.network.state_dict())
    record, _ = made.run_epoch()
    assert record["kept"] == record["steps"] == record["loss_mpc"] == 0
    assert made.loss > FITTED
    for name, value in made.network.state_dict().items():
        assert torch.equal(value, before[name])


def test_clusters_that_may_be_one_person_do_not_repel():
    """The only difference that doubt makes, and none where it is off."""
    kept, off = training(doubt=0.95), training(doubt=None)
    for made in (kept, off):
        made.look()
    rows = torch.arange(len(kept.windows))
    tracklet = torch.from_numpy(kept.tracklet)
    assert kept.targets.is_ambiguous.any() and not off.targets.is_ambiguous.any()
    assert torch.equal(kept.targets.prototypes, off.targets.prototypes)
    assert torch.equal(kept.targets.share, off.targets.share)
    features = encode(kept.network, kept.windows)

    def loss(made):
        t, own = made.targets, tracklet[rows]
        return shared_prototype_contrast(
            features, t.cluster[own], t.share[own], t.prototypes, 0.1, t.excluded_negatives(own)
        )

    t, own = off.targets, tracklet
    plain = shared_prototype_contrast(features, t.cluster[own], t.share[own], t.prototypes, 0.1)
    assert loss(off) == plain > loss(kept)
    record = kept.look()
    assert record["people_at_least"] == kept.targets.fewest() < record["people"]
    assert record["unsure"] >= int(kept.targets.is_ambiguous.sum())


def walked_together(data):
    """Persons 2i and 2i + 1 walk together: each of their recordings is at the time of another's."""
    recording = data.train.recording - 100
    pair, place = recording // 6, recording % 3  # experiment(each=3): persons 2i and 2i + 1
    begin = 100.0 * pair + 10 * place
    times = np.stack([begin, begin + 5], 1)
    return replace(data, train=replace(data.train, times=times))


def alike(rows, others):
    return make.without_seconds(rows) == make.without_seconds(others)


@pytest.mark.parametrize("recordings", ["positives", "merge"])
def test_people_seen_at_once_share_no_cluster_and_repel(recordings):
    data = experiment()
    windows, identity = data.train.windows.copy(), data.train.identity
    windows[identity % 2 == 1] = windows[identity % 2 == 0] + np.float32(0.01)  # and look alike
    data = replace(data, train=replace(data.train, windows=windows))
    tier = {"recordings": recordings, "part_size": 1, "protocols": ("label_free",)}
    made, free = training(walked_together(data), **tier), training(data, **tier)
    assert len(made.cannot_link) == 12 and free.cannot_link is None
    at_once = [(t, t + 3) for t in range(24) if t % 6 < 3]

    def held(targets, t):
        return {
            c
            for c, s in zip(targets.cluster[t].tolist(), targets.share[t].tolist(), strict=True)
            if s > 0
        }

    def met(targets):
        """Pairs of tracklets seen at once in one cluster, and in clusters that do not repel."""
        together = ambiguous = 0
        for a, b in at_once:
            one, other = held(targets, a), held(targets, b)
            together += bool(one & other)
            beside = {r for c in one for r in targets.ambiguous[c].tolist() if r not in one}
            ambiguous += bool(beside & other)
        return together, ambiguous

    for training_ in (made, free):
        training_.targets = training_.share(
            encode(training_.network, training_.windows), training_.stage
        )
    assert met(made.targets) == (0, 0)
    assert met(free.targets)[0] > 0
    assert made.look()["seen_at_once"] == 12
    assert "seen_at_once" not in free.look()


def test_times_that_say_nothing_change_nothing():
    data = walked_together(experiment())
    plain = make.run_all(training(experiment(), epochs=2))
    assert alike(plain, make.run_all(training(data, epochs=2, overlap="ignore")))
    times = np.stack([data.train.recording, data.train.recording + 1.0], 1)  # one after another
    apart = replace(data, train=replace(data.train, times=times))
    assert alike(plain, make.run_all(training(apart, epochs=2)))
    unknown = replace(data, train=replace(data.train, times=np.full_like(times, np.nan)))
    assert alike(plain, make.run_all(training(unknown, epochs=2)))
    assert training(data, recordings="off").cannot_link is None


def test_doubt_begins_where_joining_ends():
    with pytest.raises(UserError, match=r"--doubt 0\.4 must not be below --eps 0\.5"):
        TrackMCSettings.of(doubt=0.4)


def test_the_last_epoch_counts_without_labels():
    made = training(eval_every=2)
    rows = make.run_all(made)
    assert made.selectors["label_free"].best_epoch == 4
    assert [("top1" in row) for row in rows] == [True, False, True, False, True]


def test_unit_matching_does_not_depend_on_length():
    made = training()
    unit = made.model.match(TrackMC.encoder, RULE)
    with torch.no_grad():
        for value in (made.network.output.weight, made.network.output.bias):
            value *= 3
    again = made.model.match(TrackMC.encoder, RULE)
    assert (unit.map, unit.top(1)) == pytest.approx((again.map, again.top(1)))
    model = replace(made.model, settings=made.settings.but(matching="plain"))
    plain = model.match(TrackMC.encoder, RULE)
    assert plain.map != unit.map


@pytest.mark.parametrize("recordings", ["positives", "merge"])
def test_recordings_that_are_not_known_are_asked_for(recordings):
    with pytest.raises(UserError, match=r"--recordings off"):
        training(experiment(known=False), recordings=recordings)


def test_clustering_happens_where_the_runtime_says():
    class Counted(Threads):
        asked = 0

        def map(self, *args):
            self.asked += 1
            return super().map(*args)

    elsewhere = Counted(1)
    made = training(protocols=("label_free",))
    made.runtime = replace(CPU, executor=elsewhere)
    made.run_epoch()
    assert elsewhere.asked > 0
