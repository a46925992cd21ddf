/**
 * A program made with the SDK, with a model that only plays one: runs, resumes and forks a session whose only copy
 * is in rrd's store. Run by client/tests/session_store.rs: URL as the argument, the token on stdin; says what came of
 * it in one line of JSON.
 */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { deleteSession, listSessions, query, type Options, type SDKMessage } from '@anthropic-ai/claude-agent-sdk'
import { RrdSessionStore } from './rrd-session-store.js'

type Block = { type: string; text?: string; name?: string; content?: unknown }
type Asked = { messages: Array<{ role: string; content: string | Block[] }>; tools?: Array<{ name: string }> }

const url = process.argv[2]!
const token = readFileSync(0, 'utf8').trim()
const home = process.env.HOME!
const work = join(home, 'work')
mkdirSync(work, { recursive: true })

const asked: string[] = []

/** What the model says to that: a delegate is sent off when it is told to, everything else is answered. */
function answers(body: Asked): object {
  const said = JSON.stringify(body.messages)
  asked.push(said)
  const agent = body.tools?.find(tool => tool.name === 'Agent' || tool.name === 'Task')?.name
  const last = JSON.stringify(body.messages.at(-1)?.content)
  if (agent && last.includes('Send somebody off') && !last.includes('tool_result')) {
    const input = { description: 'Look', prompt: 'Look at the harbour', subagent_type: 'general-purpose', run_in_background: false }
    return { type: 'tool_use', id: `toolu_${asked.length}`, name: agent, input }
  }
  return { type: 'text', text: last.includes('harbour') ? 'It is foggy.' : `Answer ${asked.length}.` }
}

function stream(response: ServerResponse, block: any): void {
  const send = (type: string, more: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const message = { id: `msg_${asked.length}`, type: 'message', role: 'assistant', model: 'claude-sonnet-4-5' }
  const usage = { input_tokens: 10, output_tokens: 1 }
  send('message_start', { message: { ...message, content: [], stop_reason: null, stop_sequence: null, usage } })
  const isCall = block.type === 'tool_use'
  const begun = isCall ? { ...block, input: {} } : { type: 'text', text: '' }
  send('content_block_start', { index: 0, content_block: begun })
  const delta = isCall
    ? { type: 'input_json_delta', partial_json: JSON.stringify(block.input) }
    : { type: 'text_delta', text: block.text }
  send('content_block_delta', { index: 0, delta })
  send('content_block_stop', { index: 0 })
  const stop_reason = isCall ? 'tool_use' : 'end_turn'
  send('message_delta', { delta: { stop_reason, stop_sequence: null }, usage: { output_tokens: 5 } })
  send('message_stop', {})
  response.end()
}

const model = createServer((request, response) => {
  let text = ''
  request.on('data', piece => (text += piece))
  request.on('end', () => {
    if (request.method === 'POST' && request.url?.startsWith('/v1/messages') && !request.url.includes('count_tokens')) {
      return stream(response, answers(JSON.parse(text)))
    }
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ input_tokens: 10 }))
  })
})
await new Promise<void>(done => model.listen(0, '127.0.0.1', done))
const { port } = model.address() as AddressInfo

const notes: string[] = []
const sessionStore = new RrdSessionStore({ url, token, onNote: note => notes.push(note) })

/** One run, in a configuration directory of its own that is gone afterwards: what lasts is in the store. */
async function run(prompt: string, more: Options = {}): Promise<{ id: string; said: string; local: string[] }> {
  const config = join(home, `config-${asked.length}`)
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    CLAUDE_CONFIG_DIR: config,
    ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`,
    ANTHROPIC_API_KEY: 'sk-ant-none',
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
    DISABLE_AUTOUPDATER: '1',
  }
  process.env.CLAUDE_CONFIG_DIR = config
  const messages: SDKMessage[] = []
  const options: Options = { cwd: work, env, sessionStore, settingSources: [], maxTurns: 5, ...more }
  const from = asked.length
  for await (const message of query({ prompt, options })) messages.push(message)
  const odd = messages.filter(m => m.type === 'system' && m.subtype === ('mirror_error' as typeof m.subtype))
  assert.deepEqual(odd, [])
  const result = messages.find(m => m.type === 'result')
  assert.ok(result && result.subtype === 'success', JSON.stringify(messages.at(-1)))
  // What the run left, if it was not resumed from elsewhere.
  const local: string[] = []
  try {
    for (const name of readdirSync(join(config, 'projects'), { recursive: true }) as string[]) {
      if (name.endsWith('.jsonl')) local.push(readFileSync(join(config, 'projects', name), 'utf8'))
    }
  } catch {}
  rmSync(config, { recursive: true, force: true })
  return { id: result.session_id, said: asked.slice(from).join('\n'), local }
}

const first = await run('Remember the word heliotrope')
const second = await run('Send somebody off', { resume: first.id })
assert.equal(second.id, first.id)
assert.ok(second.said.includes('heliotrope'), 'a resumed session knows what was said before')
const third = await run('Which word was it?', { resume: first.id, forkSession: true })
assert.notEqual(third.id, first.id)
assert.ok(third.said.includes('heliotrope') && third.said.includes('Send somebody off'))
const fourth = await run('And again?', { continue: true })
assert.equal(fourth.id, third.id)
assert.ok(fourth.said.includes('Which word was it?'))

const listed = await listSessions({ dir: work, sessionStore })
assert.deepEqual(listed.map(one => one.sessionId).sort(), [first.id, third.id].sort())

const projectKey = work.replace(/[^a-zA-Z0-9]/g, '-')
const key = { projectKey, sessionId: first.id }
const stored = (await sessionStore.load(key)) ?? []
const prompts = stored.filter(entry => entry.type === 'user').map(entry => JSON.stringify(entry))
assert.ok(prompts.some(text => text.includes('heliotrope')))
assert.ok(!prompts.some(text => text.includes('Which word')), 'a fork is nothing of its parent')
const names = stored.map(entry => entry.uuid).filter(Boolean)
assert.equal(new Set(names).size, names.length, 'no entry is there twice')
// The first run's own file says the same, but for what is local to it.
const written = first.local.flatMap(text => text.split('\n').filter(Boolean)).map(line => JSON.parse(line))
const own = written.filter(entry => entry.uuid).map(entry => entry.uuid)
assert.ok(own.length > 1)
assert.deepEqual(names.slice(0, own.length), own)
const subkeys = await sessionStore.listSubkeys(key)
assert.equal(subkeys.length, 1, JSON.stringify(subkeys))
const delegate = await sessionStore.load({ ...key, subpath: subkeys[0]! })
assert.ok(JSON.stringify(delegate).includes('foggy'))

const gone = await run('To be forgotten')
await deleteSession(gone.id, { dir: work, sessionStore })
assert.equal(await sessionStore.load({ projectKey, sessionId: gone.id }), null)
assert.deepEqual(notes, [])
// What a crash left of a call that was not answered is no reason to lose the rest; the caller put it there.
const left = await sessionStore.load({ projectKey: '-w', sessionId: 'torn' })
assert.deepEqual(left, [{ type: 'x', n: 1 }, { type: 'x', n: 2 }])
assert.equal(notes.length, 1)
model.close()
console.log(JSON.stringify({ session: first.id, fork: third.id, gone: gone.id, delegate: subkeys[0] }))
process.exit(0)
