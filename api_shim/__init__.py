"""The process that loads plugins and serves their REST API, beside the relay and never on its loop."""
