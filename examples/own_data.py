"""Your own skeletons: arrays to a dataset, a training without labels, and who is who.

python examples/own_data.py
"""

import tempfile
from pathlib import Path

import numpy as np

import simmc

LENGTH = 6  # frames of a window
ROLES = {"gc1": "train", "gc2": "gallery", "gc3": "probe"}


def my_recordings():
    """Yours to replace: frames (T, J, 3) in metres, person, and train, gallery or probe.

    The persons of `train` may all be 0: they are never used. Here the walkers are synthetic.
    """
    for recording in simmc.generate("KS20", persons=8):
        yield recording.frames, recording.identity, ROLES[recording.attributes["setting"]]


def as_splits(recordings):
    """Role -> (windows (N, f, J, 3), persons (N,)), and role -> number of the recording (N,)."""
    windows, persons, numbers = ({role: [] for role in ROLES.values()} for _ in range(3))
    for number, (frames, person, role) in enumerate(recordings):
        cut = simmc.windows_of([frames], LENGTH, "once" if role == "train" else "plain")
        windows[role].append(cut)
        persons[role] += [person] * len(cut)
        numbers[role] += [number] * len(cut)
    splits = {role: (np.concatenate(windows[role]), np.array(persons[role])) for role in windows}
    return splits, {role: np.array(numbers[role]) for role in numbers}


def identify(run, splits, numbers):
    """Name each probe recording by the gallery recording whose mean feature is nearest."""
    means, names = {}, {}
    for role in ("gallery", "probe"):
        windows, persons = splits[role]
        features = run.embed(windows)
        which, first = np.unique(numbers[role], return_index=True)
        means[role] = np.stack([features[numbers[role] == one].mean(0) for one in which])
        names[role] = persons[first]
    distance = np.linalg.norm(means["probe"][:, None] - means["gallery"], axis=2)
    return names["probe"], names["gallery"][distance.argmin(1)]


def main(folder):
    splits, numbers = as_splits(my_recordings())
    simmc.write_dataset(folder, "Mine", splits, simmc.KINECT_V2, recordings=numbers)
    run = simmc.train(
        "simmc",
        dataset="Mine",
        length=LENGTH,
        data_root=folder,
        model_root=folder / "runs",
        epochs=10,
        eps=0.4,
        class_sampling="off",
        part_batches="keep",
    )
    rates = run.results["protocols"]["label_free"]
    print(f"window by window: top-1 {rates['top1']:.1%}, mAP {rates['mAP']:.1%}")
    true, named = identify(run, splits, numbers)
    print(f"recording by recording: {(true == named).sum()} of {len(true)} named correctly")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
