// @y/websocket-server as its command starts it, in memory. HOST and PORT: where.
import '@y/websocket-server/server'
