"""The migrations of the schema `bus`."""
