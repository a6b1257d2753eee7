// One shape for every provider that people connect with, each of them as it comes from npm.
import * as Y from 'yjs'
import WebSocket from 'ws'
import * as decoding from 'lib0/decoding'
import { WebsocketProvider as Yws2 } from 'y-websocket-2'
import { WebsocketProvider as Yws3 } from 'y-websocket-3'
import * as hp2 from 'hocuspocus-provider-2'
import * as hp3 from 'hocuspocus-provider-3'
import * as hp4 from 'hocuspocus-provider-4'

const YWS = { yws2: Yws2, yws3: Yws3 }
const HP = { hp2, hp3, hp4 }

/** Connections retry quickly: the tests wait for them. */
const RETRY = { delay: 100, minDelay: 50, maxDelay: 500, factor: 1.5 }

export const isHocuspocus = kind => kind.startsWith('hp')

/** How a y-websocket client must write a room whose name would not survive in a URL. */
export const escaped = room => room.split('/').map(encodeURIComponent).join('/')

/**
 * A client of `kind` in `room`. Options: token (string, or for Hocuspocus a function), params (query of y-websocket),
 * protocols, headers, doc, name (announced as presence), socket (a shared Hocuspocus socket), session (v4).
 *
 * closes: codes of closed connections; denied: reasons; statuses: SyncStatus values; acks: values of message 100;
 * pings: count; confirmed: highest clock of our own that the server sent back.
 */
export const connect = (kind, url, room, options = {}) => {
  const doc = options.doc ?? new Y.Doc()
  const client = { kind, room, doc, closes: [], denied: [], statuses: [], acks: [], pings: 0, confirmed: 0, scope: undefined }
  if (isHocuspocus(kind)) hocuspocus(client, url, options)
  else ywebsocket(client, url, options)
  if (options.name) client.awareness.setLocalStateField('user', { name: options.name })
  return client
}

/** A Hocuspocus socket that several documents share. */
export const sharedSocket = (kind, url, log = {}) => {
  class Recorded extends WebSocket {
    constructor (address) {
      super(address)
      // a browser's socket reports an error that nobody listens to; one of Node throws it
      this.on('error', () => {})
      this.on('close', code => log.closes?.push(code))
      this.on('message', data => { if (data.byteLength === 1 && new Uint8Array(data)[0] === 9) log.pings = (log.pings ?? 0) + 1 })
    }
  }
  return new HP[kind].HocuspocusProviderWebsocket({ url: `${url}/ws`, WebSocketPolyfill: Recorded, ...RETRY })
}

const ywebsocket = (client, url, { token, params = {}, protocols = [], headers, awareness }) => {
  class Recorded extends WebSocket {
    constructor (address, offered) {
      super(address, offered, { headers })
      this.on('error', () => {})
      this.on('close', code => client.closes.push(code))
      this.on('unexpected-response', (_, response) => {
        client.denied.push(response.statusCode)
        this.emit('error', new Error(`status ${response.statusCode}`))
        this.terminate()
      })
    }
  }
  const provider = new YWS[client.kind](`${url}/ws`, client.room, client.doc, {
    params: token ? { ...params, token } : params, protocols, disableBc: true, WebSocketPolyfill: Recorded, maxBackoffTime: 400, ...(awareness && { awareness }),
  })
  const sync = provider.messageHandlers[0]
  provider.messageHandlers[0] = (encoder, decoder, ...rest) => {
    const kind = decoder.arr[decoder.pos]
    if (kind > 0) {
      const body = decoding.createDecoder(decoder.arr.subarray(decoder.pos + 1))
      client.confirmed = Math.max(client.confirmed, ownClock(client.doc, decoding.readVarUint8Array(body)))
    }
    return sync(encoder, decoder, ...rest)
  }
  provider.messageHandlers[100] = (_, decoder) => { client.acks.push(decoding.readVarUint(decoder)) }
  Object.assign(client, {
    provider,
    awareness: provider.awareness,
    synced: () => provider.wsconnected && provider.synced,
    connected: () => provider.wsconnected,
    saved: () => client.confirmed >= Y.getState(client.doc.store, client.doc.clientID),
    drop: () => provider.ws?._socket?.destroy(),
    offline: () => provider.disconnect(),
    online: () => provider.connect(),
    destroy: () => provider.destroy(),
  })
}

/** The clock after our last struct in `update`. */
const ownClock = (doc, update) => {
  let end = 0
  for (const struct of Y.decodeUpdate(update).structs) {
    if (struct.id.client === doc.clientID) end = Math.max(end, struct.id.clock + struct.length)
  }
  return end
}

const hocuspocus = (client, url, { token, socket, session, awareness, extra = {} }) => {
  const own = socket === undefined
  const provided = socket ?? sharedSocket(client.kind, url, client)
  const provider = new HP[client.kind].HocuspocusProvider({
    name: client.room,
    document: client.doc,
    websocketProvider: provided,
    token: token ?? null,
    ...(awareness && { awareness }),
    ...(session && { sessionAwareness: true }),
    ...(client.kind === 'hp2' && { broadcast: false, quiet: true }),
    onAuthenticationFailed: ({ reason }) => client.denied.push(reason),
    onAuthenticated: data => { client.scope = data?.scope ?? provider.authorizedScope },
    onMessage: ({ message }) => {
      const body = decoding.createDecoder(message.decoder.arr)
      decoding.readVarString(body)
      if (decoding.readVarUint(body) === 8) client.statuses.push(decoding.readVarUint(body))
    },
    ...extra,
  })
  if (client.kind !== 'hp2') provider.attach()
  Object.assign(client, {
    provider,
    socket: provided,
    awareness: provider.awareness,
    synced: () => provided.status === 'connected' && provider.synced,
    connected: () => provided.status === 'connected',
    // version 2 counts below zero after a reconnect: it forgets the updates that it had queued, not their answers
    saved: () => provider.synced && provider.unsyncedChanges <= 0,
    drop: () => provided.webSocket?._socket?.destroy(),
    offline: () => provided.disconnect(),
    online: () => provided.connect(),
    destroy: () => {
      provider.destroy()
      if (own) provided.destroy()
    },
  })
}
