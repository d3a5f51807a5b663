"""The table of places where a public program and its paper, or common sense, disagree.

Every switch has a released value (what the published numbers were made with) and an exact value
(what the paper says, or what is correct). docs/fidelity.md explains each row.
A command has the switches that its settings name; `--fidelity` sets all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

RELEASED, EXACT = "released", "exact"


@dataclass(frozen=True)
class Switch:
    """One deviation that the user can choose.

    Attributes:
        name: flag without dashes, and key in files.
        quirk: row in docs/fidelity.md.
        released: value that reproduces the public program.
        exact: value that is right.
        help: one sentence for `--help`.
        more: further values, neither released nor exact.
        instead: command -> its own released value, where programs differ.
        exact_instead: command -> its own exact value, where papers differ.
        open: True where values outside `choices` are checked by the command itself.
    """

    name: str
    quirk: str
    released: str
    exact: str
    help: str
    more: tuple[str, ...] = ()
    instead: Mapping[str, str] = field(default_factory=dict)
    exact_instead: Mapping[str, str] = field(default_factory=dict)
    open: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """All named values, released first, exact second."""
        return tuple(dict.fromkeys((self.released, self.exact, *self.more)))

    def released_by(self, command: str) -> str:
        """The value with which the numbers of this command's paper were made."""
        return self.instead.get(command, self.released)

    def exact_by(self, command: str) -> str:
        """The value that is right for this command."""
        return self.exact_instead.get(command, self.exact)


# fmt: off
_TABLE = (
    # SimMC, and all that load and score windows
    Switch("jaccard_input", "Q1", "raw", "normalised",
        "Jaccard distance on features as they are, or scaled to unit length first."),
    Switch("mask_scope", "Q2", "batch", "window",
        "One pair of masks for a whole batch of windows, or one pair for each window."),
    Switch("mask_replay", "Q3", "index", "window",
        "Gradient steps reuse masks by batch number, or each window keeps the masks it was "
        "clustered with."),
    Switch("mpc_reduction", "Q4", "sum", "mean",
        "Add the MPC terms of the two masked sets, or average them (Eq. 5)."),
    Switch("selection", "Q5", "probe", "label_free",
        "The best epoch and the stop are chosen by the probe's own top-1, or by a rule that "
        "sees pseudo labels and losses only."),
    Switch("part_batches", "Q6", "drop", "keep",
        "Leave out the last, incomplete batch of training, probe and gallery, or use every "
        "window.",
        instead={"age": "keep", "sgela": "keep"}),
    Switch("class_sampling", "Q7", "on", "off",
        "Balance the training windows by true identity, with repeats (all: on KGBD too), or use "
        "each once.",
        more=("all",),
        instead={"age": "off", "sgela": "off", "recognition": "off",
            "mgscr": "all", "smsge": "all"}),
    Switch("same_condition_map", "Q8", "skip_first", "remove_self",
        "Where probe and gallery are the same list: mAP skips the first probe and keeps self "
        "matches, or removes each self match."),
    Switch("zero_label_guard", "Q10", "on", "off",
        "Count no MPC loss for a batch that holds cluster 0 alone, or compute it."),
    Switch("double_load", "Q11", "on", "off",
        "Draw sampling and order of the training windows twice and use the second draw, or "
        "once.",
        instead={"age": "off", "sgela": "off", "recognition": "off",
            "mgscr": "off", "smsge": "off"}),
    Switch("kgbd_order", "Q12", "raw", "mapped",
        "Joints of KGBD in the order of its files, in Kinect order, or in Kinect order with "
        "left and right swapped as in Hi-MPC.",
        more=("mirrored",), instead={"himpc": "mirrored"}),
    Switch("root", "Q12", "first", "sensor",
        "Joint that is subtracted from each frame: the file's first, the sensor's root (hip "
        "centre; nose on CASIA_B), none, or a joint by name.",
        more=("none",),
        instead={"age": "none", "sgela": "none"},
        exact_instead={"age": "none", "sgela": "none"},
        open=True),
    Switch("eval_sqrt", "Q13", "nan", "clamp",
        "With --mode Eval: a negative squared distance, which rounding makes, becomes NaN or 0."),
    # Hi-MPC
    Switch("level_reduction", "H1", "joint_sum", "mean",
        "The loss of the joint level is summed over its heads and those of the others averaged, "
        "or all are averaged."),
    Switch("mining_scale", "H2", "tau", "none",
        "Hard skeleton mining weighs frames by similarities divided by the temperature, or as "
        "they are (Eq. 7-8)."),
    Switch("unmined_loss", "H3", "frames", "sequence",
        "With --mining none: the contrasts of all frames added up, or the contrast of the whole "
        "sequence (Eq. 5)."),
    Switch("mining_gradient", "H4", "through", "through",
        "The gradient flows through the weights of the frames (the paper does not say), or "
        "stops there.",
        more=("stopped",)),
    Switch("outlier_rule", "H6", "any_level", "own_level",
        "A window that is an outlier at one level is left out at all levels, or only at that one."),
    # AGE and SGELA
    Switch("decoder_input", "S1", "zeros", "skeletons",
        "The decoder is fed zeros, or skeletons: the previous true one in the training of "
        "reverse reconstruction, else its own (Eq. 2)."),
    Switch("attention_form", "S2", "projected", "dot",
        "Attention with a projection of its keys and without tanh, or as in Eq. 4 and 9."),
    Switch("lcl_batches", "S5", "stored", "person",
        "Batches of the contrast as the windows are stored, of one person (by identity), or of "
        "one recording where recordings are known.",
        more=("recording",)),
    Switch("lcl_same_window", "S5", "negative", "negative",
        "The second copy of a window counts as a negative in the contrast, or is left out.",
        more=("out",)),
    Switch("encoder_windows", "S6", "two_thirds", "all",
        "On BIWI: train on the first two thirds of the windows, or on all."),
    Switch("plus_data", "S10", "reversed", "tasks",
        "With --task plus: all three trainings see the data of reverse reconstruction, or each "
        "those of its task."),
    # MG-SCR and SM-SGE
    Switch("gathering", "G1", "sorted", "sorted",
        "Sampled frames of a window are its own, in order, or mixed up as by an early public "
        "program.",
        more=("published",)),
    Switch("sampled_frames", "G2", "once", "batch",
        "Frames of the subsequences are drawn once for the whole training, or for each batch."),
    Switch("last_frame", "G4", "skip", "encode",
        "The longest prefix that becomes a feature ends before the window's last frame, or with "
        "it."),
    Switch("extra_prefix", "G8", "zeros", "none",
        "Prefixes that become features: also one with an empty frame behind the window, or not."),
    # the recognition stage
    Switch("test_batches", "S7", "whole", "all",
        "Leave out the windows of a probe's person beyond its last full batch, or score all."),
    Switch("order", "S13", "stored", "shuffled",
        "Steps go through the training windows as they are stored, person by person, or in a "
        "new random order in each epoch."),
    # Preprocess.py
    Switch("ias_label_order", "D1", "walk", "name",
        "Identities of IAS by the order in which the file system lists folders, or by folder "
        "name."),
    Switch("ias_cut", "D2", "asymmetric", "symmetric",
        "Training recordings of IAS lose their first 10 frames only, or the last 10 as well."),
    Switch("ks20_time", "D3", "text", "number",
        "Frames of KS20 ordered by their time stamp as text, or as a number."),
    Switch("ks20_roles", "D4", "slip", "own",
        "A KS20 recording gets its role from the next file's setting and the last one is lost, "
        "or from its own."),
    Switch("zero_joints", "D6", "keep", "missing",
        "Joints at exactly (0, 0, 0), as sensors write those that they do not see, are kept as "
        "positions, or filled like NaN by the last observation carried forward."),
    Switch("dense_starts", "D5", "repeated", "once",
        "Overlapping training windows start at almost every frame twice, at every frame once, "
        "or every half window.",
        more=("stride",)),
)
# fmt: on
SWITCHES: Mapping[str, Switch] = {row.name: row for row in _TABLE}


def values(command: str, level: str) -> dict[str, str]:
    """The value of every switch for a command at one level, RELEASED or EXACT."""
    if level not in (RELEASED, EXACT):
        raise ValueError(f"fidelity must be {RELEASED} or {EXACT}, not {level!r}")
    return {
        row.name: row.released_by(command) if level == RELEASED else row.exact_by(command)
        for row in SWITCHES.values()
    }
