"""Events over HTTP: read them, look after their consumers."""
