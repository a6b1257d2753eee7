"""Load tests: locust users that speak the relay's protocols and its REST API. See README.md beside this file."""
