"""The kit that authors of plugins have, under a short name for the tests here."""

from api_shim.testing import Running, running

__all__ = ["Running", "running"]
