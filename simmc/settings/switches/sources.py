"""Switches of the source models and of the recognition stage on them."""

from simmc.settings.switches.switch import GAIT, GRAPHS, Switch

GAIT_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "decoder_input",
        "S1",
        "zeros",
        "skeletons",
        "The decoder is fed zeros, or skeletons: the previous true one in the training of reverse "
        "reconstruction, else its own (Eq. 2).",
        GAIT,
    ),
    Switch(
        "attention_form",
        "S2",
        "projected",
        "dot",
        "Attention with a projection of its keys and without tanh, or as in Eq. 4 and 9.",
        GAIT,
    ),
    Switch(
        "lcl_batches",
        "S5",
        "stored",
        "person",
        "Batches of the contrast as the windows are stored, of one person (by identity), or of one "
        "recording where recordings are known.",
        ("sgela",),
        more=("recording",),
    ),
    Switch(
        "lcl_same_window",
        "S5",
        "negative",
        "negative",
        "The second copy of a window counts as a negative in the contrast, or is left out.",
        ("sgela",),
        more=("out",),
    ),
    Switch(
        "encoder_windows",
        "S6",
        "two_thirds",
        "all",
        "On BIWI: train on the first two thirds of the windows, or on all.",
        GAIT,
    ),
    Switch(
        "plus_data",
        "S10",
        "reversed",
        "tasks",
        "With --task plus: all three trainings see the data of reverse reconstruction, or each "
        "those of its task.",
        ("sgela",),
    ),
)
GRAPHS_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "gathering",
        "G1",
        "sorted",
        "sorted",
        "Sampled frames of a window are its own, in order, or mixed up as by an early public "
        "program.",
        ("mgscr",),
        more=("published",),
    ),
    Switch(
        "sampled_frames",
        "G2",
        "once",
        "batch",
        "Frames of the subsequences are drawn once for the whole training, or for each batch.",
        GRAPHS,
    ),
    Switch(
        "last_frame",
        "G4",
        "skip",
        "encode",
        "The longest prefix that becomes a feature ends before the window's last frame, or with "
        "it.",
        ("mgscr",),
    ),
    Switch(
        "extra_prefix",
        "G8",
        "zeros",
        "none",
        "Prefixes that become features: also one with an empty frame behind the window, or not.",
        ("smsge",),
    ),
)
RECOGNITION_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "test_batches",
        "S7",
        "whole",
        "all",
        "Leave out the windows of a probe's person beyond its last full batch, or score all.",
        ("recognition",),
    ),
    Switch(
        "order",
        "S13",
        "stored",
        "shuffled",
        "Steps go through the training windows as they are stored, person by person, or in a new "
        "random order in each epoch.",
        ("recognition",),
    ),
)
