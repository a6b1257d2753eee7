"""The heart: a room is a log of the bytes people typed.

Read `room.py` first: submit, flush, write, saved. `log` keeps what was typed, `fanout` writes it to many, `presence`
merges cursors, `join` brings a client up to date, `registry` loads and unloads rooms, `compactor` turns tails into
snapshots.
"""
