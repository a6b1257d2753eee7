"""The tables of workspaces, in order."""
