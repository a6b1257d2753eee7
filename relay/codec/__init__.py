"""Processes for what is too heavy for the loop: reading large updates, diffs, compaction, and reading content.

`pool` hands out jobs, `worker` is what runs in the process, `content` reads documents (the only importer of pycrdt).
A codec process may die on hostile bytes; the job fails with CodecDied and nobody else notices.
"""
