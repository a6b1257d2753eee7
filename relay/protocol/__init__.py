"""Wire protocols, sans-I/O: bytes in, messages out; no clock, no socket, no await.

`messages` names what a client can say; `ywebsocket` and `hocuspocus` translate it from and to their bytes, `presence`
reads awareness updates, `frames` and `handshake` speak WebSocket (RFC 6455).
"""
