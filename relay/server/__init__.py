"""Sockets: `front` reads a request's head and hands the connection over, `connection` speaks WebSocket on it, a session
(`ywebsocket`, `hocuspocus`) knows what the bytes mean, a `channel` is one document on one connection."""
