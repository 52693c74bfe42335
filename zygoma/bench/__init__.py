"""Benchmarks: every figure the documentation states comes out of one of these modules."""
