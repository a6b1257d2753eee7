"""SQL of the tables that the conventions keep; see `relay.migrate`."""
