"""CUBE: the victim's states of a label's rows fall into clusters, and the smaller ones go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from btu.defenses.rows import RowFilter
from btu.errors import ConfigError
from btu.seeding import stream_seed
from btu.settings.extras import need_packages
from btu.settings.ranges import Count, Range
from btu.store.stages import ONE_ARRAY
from btu.types import FloatArray, IntArray, Knob, Split

if TYPE_CHECKING:
    from btu.lab import Lab
    from btu.store.stages import Stage

NOISE = -1  # of HDBSCAN: a row of no cluster


@dataclass(frozen=True)
class Cube(RowFilter):
    """Rows outside of the large clusters of their label go, noise among them.

    Source: Cui et al. 2022, CUBE (arXiv 2206.08514); code thunlp/OpenBackdoor, cube_defender.py.
    Departures: the victim itself is asked, not a second model of ten epochs; noise is not a
    cluster, so that it is never the one that is kept; a label without any cluster keeps its rows.
    """

    pca_dimensions: Count
    umap_dimensions: Count
    umap_neighbors: Annotated[int, Range(2, 10_000)]
    umap_min_distance: Annotated[float, Range(0, 10)]
    min_samples: Annotated[int, Range(2, 100_000)]  # neighbours that make a place dense
    min_cluster_size: Annotated[int, Range(2, 100_000)]

    knob: ClassVar[Knob | None] = Knob(
        label="smallest cluster kept, as a share of its class",
        unit="shares of a class",
        example=0.5,
        example_means="half of a class",
    )

    def check(self, rows: Split, trusted: Split | None) -> None:
        """Raise a ConfigError if a package is missing or a label has too few rows to cluster."""
        need_packages(f"defense {self.name}", {"umap": "umap-learn"}, "defenses")
        needed = max(self.umap_neighbors, self.min_samples, self.min_cluster_size)
        fewest = int(np.unique(rows.labels, return_counts=True)[1].min())
        if fewest <= needed:
            raise ConfigError(
                f"defense {self.name}: a label has {fewest} training rows, too few to cluster by "
                f"{needed} neighbours. Write defense.{self.name}.min_samples and "
                f"defense.{self.name}.umap_neighbors below {fewest}, or give more rows."
            )

    def suspicion(self, lab: Lab) -> Stage[FloatArray]:
        """How small the cluster of each row is within its class, see `judge_clusters`. (N,)"""
        victim = lab.train(lab.rows, lab.source.training)
        said = lab.outputs(victim, lab.rows.texts)

        def compute() -> FloatArray:
            states = lab.get(said).states
            assert states is not None
            clusters = self._cluster(states, stream_seed(lab.seed, self.name))
            return judge_clusters(clusters, lab.rows.labels)

        return lab.stage(f"clusters of {self.name}", compute, ONE_ARRAY, by=self, said=said)

    def select(self, found: FloatArray, threshold: float) -> IntArray:
        """The rows of clusters with less than this share of their class."""
        return np.flatnonzero(found > np.float32(1 - threshold))

    def _cluster(self, states: FloatArray, seed: int) -> IntArray:
        """The cluster of each row, of all labels together. (N,)"""
        from sklearn.cluster import HDBSCAN
        from sklearn.decomposition import PCA
        from umap import UMAP

        seed %= 2**32
        few = min(self.pca_dimensions, *states.shape)
        small = PCA(few, svd_solver="full").fit_transform(states)
        flat = UMAP(
            n_neighbors=self.umap_neighbors,
            min_dist=self.umap_min_distance,
            n_components=self.umap_dimensions,
            random_state=seed,
            n_jobs=1,
        ).fit_transform(small)
        by = HDBSCAN(
            min_cluster_size=self.min_cluster_size, min_samples=self.min_samples, copy=True
        )
        clusters: IntArray = by.fit_predict(flat)
        return clusters


def judge_clusters(clusters: IntArray, labels: IntArray) -> FloatArray:
    """How small each row's cluster is within its class. (N,)

    Args:
        clusters: of each row, `NOISE` of none. (N,)
        labels: (N,).

    Returns:
        One minus the share of the class that lies in the row's cluster; 0 in the largest one and in
        a class without any, 1 for noise.
    """
    found = np.ones(len(labels), dtype=np.float32)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        names, sizes = np.unique(clusters[rows][clusters[rows] != NOISE], return_counts=True)
        for name, size in zip(names, sizes, strict=True):
            found[rows[clusters[rows] == name]] = 1 - size / len(rows)
        largest = names[sizes.argmax()] if len(names) else NOISE
        found[rows[clusters[rows] == largest]] = 0
    return found
