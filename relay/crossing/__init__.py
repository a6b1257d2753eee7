"""The way between a relay and the shim that runs the plugins, in a process or on a host of its own.

Asks cross over a connection (`client` here, `api_shim.asks` there) and come back with an answer; facts are written to
a Redis stream (`facts`), which the shim reads when it can.
"""
