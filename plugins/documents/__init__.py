"""Documents: their content, tree and REST interface."""
