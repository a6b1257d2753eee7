"""The contracts by their protobuf package, `materi`."""
