"""The built-in plugins, one folder each; found by entry point, as anybody else's are."""
