"""The heart: a room is a log of the bytes people typed.

Read `room.py` first: submit, flush, write. `saving` gives it to the journal and tells authors, `log` keeps what was
typed, `fanout` writes it to many, `presence` merges cursors, `join` brings a client up to date, `registry` loads and
unloads rooms, `compactor` turns tails into snapshots, `recovery` mends what an outage or somebody outside has changed,
and `neighbours` keeps in touch with other relays that have the same room open.
"""
