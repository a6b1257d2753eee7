"""The command line, a module for each command; `relay.serve` has its own."""
