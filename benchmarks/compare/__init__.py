"""Materi Relay beside the servers one would pick instead, on one machine, with the same load: `make bench`.

`python -m benchmarks.compare --help` says how; `scenarios` says what is measured, `matcher` when a run has failed.
"""
