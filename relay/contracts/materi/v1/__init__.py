"""Package `materi.v1`: the `.proto` files, and the code generated from them."""
