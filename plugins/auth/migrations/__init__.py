"""The schema `auth`."""
