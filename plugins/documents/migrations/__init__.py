"""Migrations of the schema `documents`."""
