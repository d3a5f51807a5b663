"""Switches of the methods that learn by clustering, and of all that loads and scores windows."""

from simmc.settings.switches.switch import (
    EPOCHS,
    GAIT,
    GRAPHS,
    SCORINGS,
    SIMMC,
    SKELETAL,
    SOURCES,
    TRAININGS,
    Switch,
)

SIMMC_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "jaccard_input",
        "Q1",
        "raw",
        "normalised",
        "Jaccard distance on features as they are, or scaled to unit length first.",
        TRAININGS,
    ),
    Switch(
        "mask_scope",
        "Q2",
        "batch",
        "window",
        "One pair of masks for a whole batch of windows, or one pair for each window.",
        SIMMC,
    ),
    Switch(
        "mask_replay",
        "Q3",
        "index",
        "window",
        "Gradient steps reuse masks by batch number, or each window keeps the masks it was "
        "clustered with.",
        SIMMC,
    ),
    Switch(
        "mpc_reduction",
        "Q4",
        "sum",
        "mean",
        "Add the MPC terms of the two masked sets, or average them (Eq. 5).",
        SIMMC,
    ),
    Switch(
        "selection",
        "Q5",
        "probe",
        "label_free",
        "The best epoch and the stop are chosen by the probe's own top-1, or by a rule that sees "
        "pseudo labels and losses only.",
        TRAININGS,
    ),
    Switch(
        "part_batches",
        "Q6",
        "drop",
        "keep",
        "Leave out the last, incomplete batch of training, probe and gallery, or use every window.",
        SCORINGS,
        instead=dict.fromkeys(GAIT, "keep"),
    ),
    Switch(
        "class_sampling",
        "Q7",
        "on",
        "off",
        "Balance the training windows by true identity, with repeats (all: on KGBD too), or use "
        "each once.",
        SCORINGS,
        more=("all",),
        instead={
            **dict.fromkeys(("age", "sgela", "recognition"), "off"),
            **dict.fromkeys(GRAPHS, "all"),
        },
    ),
    Switch(
        "same_condition_map",
        "Q8",
        "skip_first",
        "remove_self",
        "Where probe and gallery are the same list: mAP skips the first probe and keeps self "
        "matches, or removes each self match.",
        SCORINGS,
    ),
    Switch(
        "zero_label_guard",
        "Q10",
        "on",
        "off",
        "Count no MPC loss for a batch that holds cluster 0 alone, or compute it.",
        SIMMC,
    ),
    Switch(
        "double_load",
        "Q11",
        "on",
        "off",
        "Draw sampling and order of the training windows twice and use the second draw, or once.",
        SCORINGS,
        instead=dict.fromkeys((*SOURCES, "recognition"), "off"),
    ),
    Switch(
        "kgbd_order",
        "Q12",
        "raw",
        "mapped",
        "Joints of KGBD in the order of its files, in Kinect order, or in Kinect order with left "
        "and right swapped as in Hi-MPC.",
        SKELETAL,
        more=("mirrored",),
        instead={"himpc": "mirrored"},
    ),
    Switch(
        "root",
        "Q12",
        "first",
        "sensor",
        "Joint that is subtracted from each frame: the file's first, the sensor's root (hip "
        "centre; nose on CASIA_B), none, or a joint by name.",
        SKELETAL,
        more=("none",),
        instead={"age": "none", "sgela": "none"},
        exact_instead={"age": "none", "sgela": "none"},
        open=True,
    ),
    Switch(
        "eval_sqrt",
        "Q13",
        "nan",
        "clamp",
        "With --mode Eval: a negative squared distance, which rounding makes, becomes NaN or 0.",
        EPOCHS,
    ),
)
HIMPC_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "level_reduction",
        "H1",
        "joint_sum",
        "mean",
        "The loss of the joint level is summed over its heads and those of the others averaged, or "
        "all are averaged.",
        ("himpc",),
    ),
    Switch(
        "mining_scale",
        "H2",
        "tau",
        "none",
        "Hard skeleton mining weighs frames by similarities divided by the temperature, or as they "
        "are (Eq. 7-8).",
        ("himpc",),
    ),
    Switch(
        "unmined_loss",
        "H3",
        "frames",
        "sequence",
        "With --mining none: the contrasts of all frames added up, or the contrast of the whole "
        "sequence (Eq. 5).",
        ("himpc",),
    ),
    Switch(
        "mining_gradient",
        "H4",
        "through",
        "through",
        "The gradient flows through the weights of the frames (the paper does not say), or stops "
        "there.",
        ("himpc",),
        more=("stopped",),
    ),
    Switch(
        "outlier_rule",
        "H6",
        "any_level",
        "own_level",
        "A window that is an outlier at one level is left out at all, or at that level only.",
        ("himpc",),
    ),
)
