import { WebsocketProvider } from 'y-websocket'
import { readVarString, readVarUint } from 'lib0/decoding'

const MESSAGE_SYNC = 0
const MESSAGE_AUTH = 2
const MESSAGE_SAVED = 100
const LATE_AFTER = 10_000

/** Close codes that end a connection for good, in words for the person at the keyboard. */
const REFUSALS = {
  4400: 'The server could not read what this page sent. Copy your last edits before you reload.',
  4401: 'Your access has expired or the link has no valid token. Ask for a new link.',
  4403: 'You may not open this document.',
  4404: 'There is no such document.',
  4408: 'Signing in took too long.',
  4410: 'This document was deleted.',
  4413: 'This document has reached its size limit. Your last edits were not saved.',
  4423: 'This document is locked after a problem with its content. An operator has to release it.',
}

/**
 * The provider, and what it takes to tell the truth about it.
 *
 * An edit is saved when the server says so: it answers updates with message 100 and how many of them its journal now
 * holds; 0 says that one was refused, because we may only read. So we count what leaves the socket and what is answered.
 */
export class Connection {
  onchange = () => {}
  loaded = false
  readonly = false
  /** Why the connection ended for good, in words. */
  refusal = null
  /** What the server said before it ended a connection that will be tried again. */
  hint = null
  #sent = 0
  #edited = false
  #offlineEdits = false
  #offline = false
  #late = false
  #timer

  constructor (doc, name, token) {
    const self = this
    class CountingSocket extends WebSocket {
      send (data) {
        if (data[0] === MESSAGE_SYNC && data[1] !== 0) self.#sentUpdate()
        super.send(data)
      }
    }
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws'
    const room = name.split('/').map(encodeURIComponent).join('/')
    const params = token ? { ack: '1', token } : { ack: '1' }
    this.provider = new WebsocketProvider(`${scheme}://${location.host}/ws`, room, doc, {
      params, connect: false, disableBc: true, WebSocketPolyfill: CountingSocket,
    })
    this.awareness = this.provider.awareness
    this.provider.messageHandlers[MESSAGE_SAVED] = (_, decoder) => this.#confirmed(readVarUint(decoder))
    this.provider.messageHandlers[MESSAGE_AUTH] = (_, decoder) => {
      readVarUint(decoder)
      this.hint = readVarString(decoder)
    }
    this.provider.on('status', ({ status }) => {
      if (status === 'connected') this.#offline = false
      this.onchange()
    })
    this.provider.on('sync', synced => {
      if (synced) {
        this.loaded = true
        this.hint = null
      }
      this.onchange()
    })
    this.provider.on('connection-close', event => this.#closed(event))
    this.provider.on('closed', ({ code, reason }) => this.#refuse(REFUSALS[code] ?? `The server ended the connection: ${reason || code}.`))
    doc.on('update', (_, origin) => {
      if (origin === this.provider) return
      this.#edited = true
      if (!this.provider.wsconnected) this.#offlineEdits = true
      this.onchange()
    })
    addEventListener('online', () => this.retry())
    this.provider.connect()
  }

  /** Whether edits made here are not known to be saved. */
  get unsaved () {
    return this.#edited && (this.#sent > 0 || this.#offlineEdits)
  }

  /** One of the keys of `WORDS` in app.js. */
  get state () {
    if (this.refusal) return 'refused'
    if (this.#offline) return this.unsaved ? 'kept' : 'offline'
    if (!this.provider.wsconnected) return 'connecting'
    if (!this.provider.synced) return 'loading'
    if (this.readonly) return 'readonly'
    if (this.unsaved) return this.#late ? 'late' : 'saving'
    return this.#edited ? 'saved' : 'connected'
  }

  /** Connect again after a refusal or a wait. */
  retry () {
    this.refusal = this.hint = null
    this.provider.connect()
    this.onchange()
  }

  #sentUpdate () {
    this.#sent++
    this.#watch()
  }

  #confirmed (count) {
    if (count === 0) this.readonly = true
    this.#sent = Math.max(0, this.#sent - Math.max(1, count))
    if (this.#sent === 0) this.#offlineEdits = false
    this.#watch()
    this.onchange()
  }

  /** Starts the clock over: late means that nothing was confirmed for a while, not that much was typed. */
  #watch () {
    clearTimeout(this.#timer)
    this.#late = false
    if (this.#sent > 0) {
      this.#timer = setTimeout(() => {
        this.#late = true
        this.onchange()
      }, LATE_AFTER)
    }
  }

  #closed (event) {
    // what was in flight may or may not have arrived: the next sync sends it again and is confirmed in its turn
    if (this.unsaved) this.#offlineEdits = true
    this.#sent = 0
    this.#watch()
    this.#offline = true
    if (event?.code === 1006 && !this.loaded) this.#explain()
    this.onchange()
  }

  /** A browser does not tell why a handshake failed. If the server is well, it was not the network. */
  async #explain () {
    const ready = await fetch('/readyz', { cache: 'no-store' }).catch(() => null)
    if (ready?.ok && !this.provider.wsconnected && !this.loaded) {
      this.provider.shouldConnect = false
      this.#refuse('The server is running but refuses this connection. The link may be wrong or your access may have ended.')
    }
  }

  #refuse (words) {
    this.refusal = words
    this.onchange()
  }
}
