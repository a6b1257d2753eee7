// @hocuspocus/server in memory, without extensions, with its defaults. PORT: where.
import { Server } from '@hocuspocus/server'
await new Server({ port: Number(process.env.PORT), address: '127.0.0.1', quiet: true }).listen()
