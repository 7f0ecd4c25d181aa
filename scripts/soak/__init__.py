"""Soak runs: long, random, and judged by rules that must hold at every moment."""
