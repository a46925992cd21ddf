/**
 * Keeps the sessions of a program made with the Claude Agent SDK in rrd's session store.
 *
 *     import { query } from '@anthropic-ai/claude-agent-sdk'
 *     import { RrdSessionStore } from './rrd-session-store'
 *
 *     const sessionStore = new RrdSessionStore({ token: process.env.RRD_STORE_TOKEN! })
 *     for await (const message of query({ prompt: '...', options: { sessionStore } })) { ... }
 *
 * A daemon on this host (`rrd service install`, or `rrd daemon`) answers at http://127.0.0.1:7730, and
 * `rrd token --session-store` prints a token. Entries are on the daemon's disk when `append` returns; the sessions
 * are then in `rrd sessions list`, in replay and search, and, where `rrd mirror` is on, in the bucket.
 *
 * Needs nothing but Node.js 18 and, for its types, @anthropic-ai/claude-agent-sdk.
 */

import type { SessionKey, SessionStore, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk'

/** A call brings at most so many bytes. */
const MOST = 32 << 20

/** Several smaller calls hold up nobody else. In UTF-16 units. */
const BATCH = 4 << 20

export type RrdSessionStoreOptions = {
  /** Where the daemon answers; http://127.0.0.1:7730 unless told otherwise. */
  url?: string
  /** Made by `rrd token --session-store`. */
  token: string
  /**
   * Goes before every project key, so that several programs that work in the same directory keep apart. Without one,
   * the keys are Claude Code's own and its sessions out of the mirror's bucket can be resumed, too.
   */
  prefix?: string
  /** How long one call may take, in milliseconds; the SDK itself waits for 60,000. */
  timeoutMs?: number
  /** Told what there is to say of a transcript that was loaded, such as that it is a redacted copy. */
  onNote?: (note: string, key: SessionKey) => void
}

/** The daemon did not do what it was asked; says why, and what helps. */
export class RrdError extends Error {
  override name = 'RrdError'
}

type Key = { projectKey: string; sessionId?: string; subpath?: string }

/** A `SessionStore` in which rrd keeps what it is given. */
export class RrdSessionStore implements SessionStore {
  readonly #url: string
  readonly #options: RrdSessionStoreOptions

  constructor(options: RrdSessionStoreOptions) {
    this.#url = (options.url ?? 'http://127.0.0.1:7730').replace(/\/+$/, '')
    // A file's last newline is no part of it; what else is not plain would be told with the error of a header.
    const token = options.token.trim()
    if (!/^[\x21-\x7e]+$/.test(token)) throw new RrdError('the token is none: rrd token --session-store prints one')
    this.#options = { ...options, token }
  }

  /** Adds entries. Those with a `uuid` that is there already are not added again. */
  async append(key: SessionKey, entries: SessionStoreEntry[]): Promise<void> {
    let batch = ''
    for (const entry of entries) {
      const line = JSON.stringify(entry) + '\n'
      // No UTF-16 unit becomes more than three bytes.
      if (line.length > MOST / 3) {
        const length = new TextEncoder().encode(line).length
        if (length > MOST) throw new RrdError(`an entry of ${length} bytes is too long: ${MOST} at most are taken`)
      }
      if (batch !== '' && batch.length + line.length > BATCH) {
        await this.#ask('POST', 'entries', key, batch)
        batch = ''
      }
      batch += line
    }
    if (batch !== '') await this.#ask('POST', 'entries', key, batch)
  }

  /** All entries in order; `null` where there are none. */
  async load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    const answer = await this.#ask('GET', 'entries', key)
    if (answer === null) return null
    const note = answer.headers.get('x-rrd-note')
    if (note !== null) this.#options.onNote?.(note, key)
    const entries: SessionStoreEntry[] = []
    for (const line of (await answer.text()).split('\n')) {
      try {
        if (line !== '') entries.push(JSON.parse(line) as SessionStoreEntry)
      } catch {
        // What the power's going left of a call that was not answered.
        this.#options.onNote?.('a line that is no JSON is left out', key)
      }
    }
    return entries
  }

  /** The project's sessions on the daemon's host, in no order. */
  async listSessions(projectKey: string): Promise<Array<{ sessionId: string; mtime: number }>> {
    const answer = await this.#ask('GET', 'sessions', { projectKey })
    const rows = ((await answer?.json()) ?? []) as Array<{ session_id: string; mtime: number }>
    return rows.map(row => ({ sessionId: row.session_id, mtime: row.mtime }))
  }

  /** Deletes a transcript; without `subpath` all of the session. */
  async delete(key: SessionKey): Promise<void> {
    await this.#ask('DELETE', 'entries', key)
  }

  /** The subpaths of the session's other transcripts. */
  async listSubkeys(key: { projectKey: string; sessionId: string }): Promise<string[]> {
    const { projectKey, sessionId } = key
    const answer = await this.#ask('GET', 'subkeys', { projectKey, sessionId })
    return ((await answer?.json()) ?? []) as string[]
  }

  async #ask(method: string, what: string, key: Key, body?: string): Promise<Response | null> {
    const query = new URLSearchParams({ project: (this.#options.prefix ?? '') + key.projectKey })
    if (key.sessionId !== undefined) query.set('session', key.sessionId)
    if (key.subpath !== undefined) query.set('subpath', key.subpath)
    const headers: Record<string, string> = { authorization: `Bearer ${this.#options.token}` }
    if (body !== undefined) headers['content-type'] = 'application/x-ndjson'
    const signal = AbortSignal.timeout(this.#options.timeoutMs ?? 60_000)
    let answer: Response
    try {
      const url = `${this.#url}/session-store/${what}?${query}`
      answer = await fetch(url, { method, headers, body, signal, redirect: 'error' })
    } catch (error) {
      const cause = error instanceof Error ? (error.cause ?? error) : error
      throw new RrdError(`no rrd answers at ${this.#url}: ${cause}`, { cause: error })
    }
    if (answer.ok) return answer.status === 204 ? null : answer
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string; hint?: string }
    const words = [problem.detail ?? answer.statusText, problem.hint].filter(Boolean).join('; ')
    throw new RrdError(`rrd says ${answer.status}: ${words}`)
  }
}
