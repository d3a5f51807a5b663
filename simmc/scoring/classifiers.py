"""Classifiers of SGELA's comparison rows, from scikit-learn. Supervised: they learn identities.

The settings of the published rows are not known (docs/descriptors.md).
"""

import numpy as np

TITLES = {"knn": "KNN", "svm": "SVM", "adaboost": "AdaBoost"}  # as SGELA's Table 2 spells them


def class_scores(
    name: str,
    train: np.ndarray,
    identity: np.ndarray,
    test: np.ndarray,
    n_classes: int,
    *,
    neighbors: int = 1,
    scaled: bool = False,
    depth: int = 10,
    seed: int = 0,
    threads: int = 1,
) -> np.ndarray:
    """Train a classifier on labelled windows and score every class for the test windows.

    Args:
        name: "knn" (votes), "svm" (linear, one against rest; margins) or "adaboost" (trees).
        train: (N, d) features.
        identity: (N,) int64 classes in 0..n_classes-1.
        test: (M, d) features.
        n_classes: columns of the answer.
        neighbors: voters of "knn".
        scaled: "knn" divides features by their standard deviation.
        depth: of the trees of "adaboost".
        seed: of "adaboost".
        threads: of the neighbour search.

    Returns:
        (M, n_classes) float64, larger means more likely; -inf for classes without training windows.
    """
    # imported here: matching does not need them
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    if name == "knn":
        model = KNeighborsClassifier(min(neighbors, len(train)), n_jobs=threads)
        model = make_pipeline(StandardScaler(), model) if scaled else model
        found = model.fit(train, identity).predict_proba(test)
    elif name == "svm":
        model = make_pipeline(StandardScaler(), LinearSVC(dual=False))
        found = model.fit(train, identity).decision_function(test)
    elif name == "adaboost":
        draw = int(np.random.SeedSequence(seed).generate_state(1)[0])
        model = AdaBoostClassifier(DecisionTreeClassifier(max_depth=depth), random_state=draw)
        found = model.fit(train, identity).decision_function(test)
    else:
        raise ValueError(f"no classifier {name!r}; choose one of {', '.join(TITLES)}")
    if found.ndim == 1:  # two classes: scikit-learn gives the margin of the second
        found = np.stack([-found, found], 1)
    scores = np.full((len(test), n_classes), -np.inf)
    scores[:, model.classes_] = found
    return scores
