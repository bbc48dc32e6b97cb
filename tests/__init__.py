"""Tests, and the makers of small data that benchmarks share with them."""
