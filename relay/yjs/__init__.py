"""The update codec: Yjs v1 updates read as layouts and rewritten by moving byte slices, never by re-encoding contents.

update (layout) · merge · diff · compact · known (what a room holds) · ranges · vector · positions · lib0. No I/O.
"""
