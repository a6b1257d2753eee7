"""A plugin for Materi Relay: who came to each document."""
