"""Measurements that stand outside the package, a script a comparison; see docs/benchmark.md."""
