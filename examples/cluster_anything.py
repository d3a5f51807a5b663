"""Density clustering by k-reciprocal Jaccard distance, on features of any kind.

    python examples/cluster_anything.py

It needs no number of clusters, leaves outliers out, and is exact and sparse: memory grows with the
number of near pairs, not with the square of the number of rows.
"""

import numpy as np
import torch

from simmc.clustering import ClusterSettings, cluster_means, dbscan, jaccard_graph, pseudo_labels

# 40 groups of 50 rows in 32 dimensions, and 200 rows that belong to no group
rng = np.random.default_rng(0)
centres = rng.normal(size=(40, 32))
groups = np.repeat(centres, 50, axis=0) + rng.normal(scale=0.3, size=(2000, 32))
features = np.concatenate([groups, rng.normal(scale=2.0, size=(200, 32))]).astype(np.float32)

# in one call: (N, d) features to (N,) labels, -1 for outliers
labels = pseudo_labels(features, ClusterSettings(eps=0.6, min_samples=4)).labels
print(f"{labels.max() + 1} clusters, {(labels < 0).sum()} outliers of {len(features)} rows")

# the same in two steps: a sparse graph of all pairs within eps, then DBSCAN on it
graph = jaccard_graph(features, eps=0.6)
assert (dbscan(graph, min_samples=4) == labels).all()

# the mean of each cluster, for what comes next
prototypes = cluster_means(torch.from_numpy(features), torch.from_numpy(labels))
print(f"prototypes: {tuple(prototypes.shape)}")
