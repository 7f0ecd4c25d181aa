"""Benchmarks: hfaria beside its peers, in the same run, against a Hub on loopback.

``scripts/bench/run`` makes the environment and starts ``python -m bench``. Every module with a
``measure`` function is one benchmark, and can be run alone: ``python -m bench.kills``.
"""
