"""Switches of the reading, cutting and splitting of raw data."""

from simmc.fidelity.switch import Switch

PREPROCESS_SWITCHES: tuple[Switch, ...] = (
    Switch(
        "ias_label_order",
        "D1",
        "walk",
        "name",
        "Identities of IAS by the order in which the file system lists folders, or by folder name.",
        ("preprocess",),
    ),
    Switch(
        "ias_cut",
        "D2",
        "asymmetric",
        "symmetric",
        "Training recordings of IAS lose their first 10 frames only, or the last 10 as well.",
        ("preprocess",),
    ),
    Switch(
        "ks20_time",
        "D3",
        "text",
        "number",
        "Frames of KS20 ordered by their time stamp as text, or as a number.",
        ("preprocess",),
    ),
    Switch(
        "ks20_roles",
        "D4",
        "slip",
        "own",
        "A KS20 recording gets its role from the next file's setting and the last one is lost, or "
        "from its own.",
        ("preprocess",),
    ),
    Switch(
        "zero_joints",
        "D6",
        "keep",
        "missing",
        "Joints at exactly (0, 0, 0), as sensors write those that they do not see, are kept as "
        "positions, or filled like NaN by the last observation carried forward.",
        ("preprocess",),
    ),
    Switch(
        "dense_starts",
        "D5",
        "repeated",
        "once",
        "Overlapping training windows start at almost every frame twice, at every frame once, or "
        "every half window.",
        ("preprocess",),
        more=("stride",),
    ),
)
