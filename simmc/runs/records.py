"""The numbers that a run writes: a line of metrics.jsonl for each epoch, and results.json.

Rates are fractions of 1. An entry that a method does not have is left out.
"""

from typing import Any, Literal, TypedDict

Verdict = Literal["healthy", "collapsed", "over-split", "unstable", "unsure", "nothing learned"]


class Figures(TypedDict, total=False):
    """Numbers of the probe, by matching or by classification; None where there are no rates."""

    top1: float | None  # share of probes with the right person at rank 1 (or named first)
    top5: float | None
    top10: float | None
    mAP: float | None
    mINP: float | None
    nauc_roc: float  # of classification: the area of SGELA's program, and of its paper
    nauc_cmc: float
    probes: int  # probe windows that are scored
    unmatched: int  # of these, those without a match in the gallery: misses in top-k
    averaged: int  # probe windows that mAP and mINP are means over
    no_rates: str  # why there are no rates


class EpochRecord(Figures, total=False):
    """A line of metrics.jsonl: the numbers of an epoch, before its steps."""

    epoch: int
    levels: dict[str, Figures]  # Hi-MPC: of each body level alone
    clusters_1: int  # clusters of each view (SimMC) or level (Hi-MPC), and their outliers
    clusters_2: int
    clusters_3: int
    outliers_1: int
    outliers_2: int
    outliers_3: int
    outliers: int  # windows that are an outlier of some view
    kept: int  # windows that are learned from
    largest: float  # share of the windows in clusters (of the first view) in the largest one
    label_free_score: float | None  # trust in the pseudo labels, from these labels alone
    eps: float  # of the clustering, where it is chosen from the features
    min_samples: int
    body_agreement: float  # of distances between features with those between bone lengths
    recall: float  # share of the true neighbours that an approximate search has found
    mi: float  # mutual information with the identities, and its adjusted form: diagnostics
    ami: float
    mACT: float  # tightness and looseness of the training features: diagnostics
    mRCL: float
    people: int  # TrackMC: clusters, and how many there are at least
    people_at_least: int
    tracks: int  # TrackMC: training recordings
    unsure: int  # TrackMC: recordings whose cluster is not certain
    reach: float  # TrackMC: how unlike the recordings are that the features bring together
    reach_score: float | None  # TrackMC: the epoch, where it is better than those before
    seen_at_once: int  # TrackMC: pairs of recordings that overlap in time
    ended: str  # why the method ended the training here
    train_top1: float  # supervised: share of training windows that are named right
    steps: int
    loss_mpc: float  # means over the steps
    loss_mic: float
    loss_joint: float  # Hi-MPC's levels; "joint" is a level of SM-SGE as well
    loss_component: float
    loss_limb: float
    loss_reconstruction: float  # AGE and SGELA
    loss_locality: float
    loss_contrast: float
    loss_prediction: float  # MG-SCR
    loss_hyper: float  # SM-SGE's levels
    loss_part: float
    loss_body: float
    loss_identity: float  # supervised
    loss_center: float
    seconds: dict[str, float]  # by stage


class ProtocolResults(Figures, total=False):
    """What results.json holds of a protocol."""

    epoch: int | None  # that the weights come from
    cmc: list[float] | None
    levels: dict[str, Figures]  # Hi-MPC
    kinds: dict[str, Figures]  # source models: every pooled feature; SimMC-UF: the source alone
    confusion: list[list[int]]  # recognition: true person, named person, windows


class Health(TypedDict):
    """What `simmc.engine.health` finds of a training without labels."""

    verdict: Verdict
    reason: str
    next_step: str  # "" where healthy


class DataRecord(TypedDict):
    """The data of a run."""

    manifest_sha256: str | None
    generated: bool  # synthetic walkers
    checked: bool  # the files are those of the manifest's checksums


class Results(TypedDict, total=False):
    """The content of results.json."""

    method: str
    dataset: str
    probe: str
    length: int
    seed: int
    fidelity: str
    protocols: dict[str, ProtocolResults | None]
    counts: dict[str, Any]  # windows by role, copies, labels below 0, epochs, clusters
    health: Health  # of the label-free training where there is one
    timing: dict[str, float]  # mean seconds an epoch by stage, and `total_run`
    peak_rss_bytes: int | None
    versions: dict[str, str]
    data: DataRecord
    settings: dict[str, Any]
    supervised: bool  # identity labels were used; `note` says for what
    note: str
    trained_on: dict[str, str | None]
    matching: dict[str, Any]  # settings of further ways of matching (matching.json)
