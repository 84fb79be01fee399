"""Benchmarks: what `system2 bench` measures, each figure taken from work that was really done."""
