// Keeps the page up to date: one stream of changes, rows made by hand from their fields, ages that tick.
// Text of a session reaches the document as text only; HTML is taken from this server's own pages alone.
'use strict';
(() => {
const doc = document, root = doc.documentElement, body = doc.body;
const $ = id => doc.getElementById(id);
const all = (from, what) => [...from.querySelectorAll(what)];
const wide = matchMedia('(min-width: 900px)'), still = matchMedia('(prefers-reduced-motion: reduce)');
root.classList.add('js');

// Times. The server's clock counts: `skew` is what to add to this one.
let skew = Date.parse(body.dataset.asOf) - Date.now();
const now = () => Date.now() + skew;
const DAY = 864e5;
function age(ms) {
  ms = Math.max(0, ms);
  const [unit, letter] = ms < 6e4 ? [1e3, 's'] : ms < 36e5 ? [6e4, 'm'] : ms < DAY ? [36e5, 'h'] : [DAY, 'd'];
  return Math.floor(ms / unit) + letter;
}
const two = n => String(n).padStart(2, '0');
function clock(at, seconds) {
  const t = new Date(at), near = Math.abs(now() - t) < 16 * 36e5;
  if (isNaN(t)) return '?';
  const time = two(t.getHours()) + ':' + two(t.getMinutes()) + (seconds ? ':' + two(t.getSeconds()) : '');
  return near ? time : `${t.getDate()} ${'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')[t.getMonth()]} ${time}`;
}
const say = (node, text) => { if (node.textContent !== text) node.textContent = text; };
function tick() {
  for (const t of all(doc, 'time.age')) say(t, age(now() - Date.parse(t.dateTime)));
}
const local = from => { for (const t of all(from, 'time.clock')) say(t, clock(t.dateTime, from.id === 'log')); };

// Text as the server shows it: one line, nothing that is not seen or reorders what is.
const SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/g;
const UNSEEN = /[\0-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
const clean = text => String(text ?? '').replace(SPACE, ' ').replace(UNSEEN, '').replace(/ +/g, ' ').trim();

// An element; children are elements, or text.
function h(tag, attributes, ...children) {
  const node = doc.createElement(tag);
  for (const name in attributes) if (attributes[name] != null) node.setAttribute(name, attributes[name]);
  node.append(...children.filter(child => child != null && child !== ''));
  return node;
}
const time = (at, name, text) => h('time', { class: name, datetime: at }, text);

// Makes `a` like `b`, keeping what is already so: a press, the focus and what is open survive.
function morph(a, b) {
  if (a.nodeName !== b.nodeName) return a.replaceWith(b);
  if (a.nodeType === 3) return void (a.data !== b.data && (a.data = b.data));
  for (const { name } of [...a.attributes]) if (name !== 'open' && !b.hasAttribute(name)) a.removeAttribute(name);
  for (const { name, value } of b.attributes) if (a.getAttribute(name) !== value) a.setAttribute(name, value);
  const children = [...b.childNodes];
  while (a.childNodes.length > children.length) a.lastChild.remove();
  children.forEach((child, i) => a.childNodes[i] ? morph(a.childNodes[i], child) : a.append(child));
}

// A row in words; page/words.rs has the same.
const key = (s, id = s.session_id) => clean(`${s.node_id ?? ''}/${s.harness}/${id}`);
const stuck = s => s.chain?.cause === 'deadlock' && s.chain.ref === s.ref;
const asks = s => s.status === 'waiting' && s.waiting_for !== 'session' || stuck(s);
const crashed = s => s.status === 'ended' && s.end_reason === 'crashed';
const failed = s => s.active && (crashed(s) || s.status === 'idle' && ['error', 'rate_limited'].includes(s.turn_result));
const away = s => s.host_state === 'away';
const sub = s => s.parent_kind === 'subagent';
const group = s => asks(s) || failed(s) ? 'needs' : away(s) ? 'away' : s.status === 'waiting' ? 'executing' : s.status;
const kind = s => s.status === 'waiting' ? asks(s) ? 'waiting' : 'blocked' : crashed(s) || failed(s) ? 'failed' : s.status;
const sign = s => away(s) ? '◌' : { waiting: '●', blocked: '●', executing: '◐', failed: '✕', idle: '○', ended: '·' }[kind(s)];
function words(s) {
  if (away(s)) return ['', s.status];
  const tool = s.activity?.tool;
  switch (s.status) {
    case 'waiting': return ['', s.waiting_for === 'session' && s.waiting_on != null ? `waiting · on ${s.waiting_on}`
      : s.waiting_for ? `waiting · ${s.waiting_for}` : 'waiting'];
    case 'executing': return tool == null ? ['', 'executing'] : s.activity.may_wait ? ['', `executing? · ${tool}`] : ['executing · ', tool];
    case 'idle': return ['', { error: 'idle · failed', interrupted: 'idle · interrupted', rate_limited: 'idle · rate limited' }[s.turn_result] ?? 'idle'];
    default: return ['', crashed(s) ? 'crashed' : s.status];
  }
}
const CAUSES = { deadlock: 'wait for each other', permission: 'needs permission', input: 'asks you', crashed: 'crashed', failed: 'failed',
  away: 'its host is away', ended: 'ended', unknown: 'is not known', idle: 'is at its prompt', working: 'is at work' };
const end = c => c ? `${c.title ?? c.ref}${c.host != null ? ` (${c.host})` : ''} ${CAUSES[c.cause]}${c.detail != null ? `: ${c.detail}` : ''}` : '';
const what = s => clean(stuck(s) ? 'waits in a circle: nobody in it can go on' : asks(s) ? s.waiting_detail
  : s.status === 'waiting' ? end(s.chain) : s.status === 'executing' ? s.activity?.summary : '');
function since(s) {
  const at = (s.status === 'executing' && s.activity?.tool != null && s.activity.since) || s.status_since || s.last_activity_at;
  return at && now() - Date.parse(at) < 7300 * DAY ? at : null;
}
const url = s => '/s/' + [s.host, s.harness, s.session_id].map(p => encodeURIComponent(p).replace(/'/g, '%27')).join('/');

// A row; page/list.rs has the same, element by element.
function row(s) {
  const [prefix, rest] = words(s), at = since(s);
  const whole = s.attach != null && clean(s.attach) === s.attach;
  return h('li', { class: `row ${kind(s)}${away(s) ? ' away' : ''}${sub(s) ? ' sub' : ''}`, 'data-key': key(s),
      'data-ref': clean(s.ref), 'data-group': group(s), 'data-parent': sub(s) && s.parent_session_id != null ? key(s, s.parent_session_id) : null },
    h('a', { href: url(s) },
      h('span', { class: 'state' },
        h('span', { class: 'sign', 'aria-hidden': 'true' }, sign(s)),
        h('span', { class: 'words' }, prefix && h('span', { class: 'w' }, prefix), clean(rest),
          ...(away(s) && s.host_seen_at ? [' · as of ', time(s.host_seen_at, 'clock', clock(s.host_seen_at))] : []))),
      at && time(at, 'age', age(now() - Date.parse(at))),
      h('b', { class: 'title' }, clean(s.title) || clean(s.activity?.summary) || '(untitled)'),
      what(s) && h('code', { class: 'what' }, what(s)),
      h('span', { class: 'place' }, h('span', { class: 'host' }, clean(s.host)),
        ...[['repo', s.repo], ['branch', s.branch], ['agent', sub(s) ? 'subagent' : s.harness], ['ref', s.ref]]
          .map(([name, text]) => clean(text) && h('span', { class: name }, clean(text))))),
    whole && group(s) === 'needs' ? h('div', { class: 'attach' }, h('code', {}, s.attach), h('button', { type: 'button', class: 'copy' }, 'Copy')) : null);
}

// The list. What stands in the document is what is known; a change replaces its row.
const rows = new Map(all(doc, '#list li.row').map(li => [li.dataset.key, li]));
const store = { get: name => { try { return localStorage.getItem(name); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(name, value); } catch { /* private mode */ } } };
let looked = Number(store.get('looked')) || now();
const seen = new Set();
function finished(li) {
  const at = li.querySelector('.age')?.dateTime;
  return ['idle', 'ended'].includes(li.dataset.group) && !li.dataset.parent && !seen.has(li.dataset.key) && Date.parse(at) > looked;
}
function put(s) {
  const made = row(s), name = key(s), old = rows.get(name);
  if (old) { made.hidden = old.hidden; if (old.classList.contains('open')) made.classList.add('open'); morph(old, made); }
  else rows.set(name, made);
}
function arrange(order) {
  const into = {};
  let top, of;
  for (const li of order) {
    const own = li.dataset.group;
    if (!(li.dataset.parent && own !== 'needs' && top && top.dataset.key === li.dataset.parent)) {
      top = li;
      of = finished(li) ? 'finished' : own;
    }
    (into[of] ??= []).push(li);
  }
  for (const section of all(doc, '#list section')) {
    const ul = section.querySelector('ul');
    let at = ul.firstChild;
    for (const li of into[section.id] ?? []) {
      if (li === at) { at = at.nextSibling; continue; }
      const moved = li.parentNode !== ul;
      ul.insertBefore(li, at);
      if (moved && !still.matches) li.animate([{ opacity: 0 }, { opacity: 1 }], 150);
    }
  }
}
function headline() {
  const asking = new Set(all($('list'), 'li.waiting').map(li => li.dataset.key));
  // What a delegate asks is asked once, though its parent shows it, too.
  const waiting = all($('list'), 'li.waiting').filter(li => !asking.has(li.dataset.parent)).length, lost = all($('list'), 'li.failed[data-group=needs]').length;
  const made = h('h1', { id: 'count', 'aria-live': 'polite', class: waiting ? 'call' : 'calm' },
    waiting && h('b', {}, String(waiting)), !waiting ? 'Nothing needs you' : waiting === 1 ? ' needs you' : ' need you',
    lost ? h('small', {}, `${lost} failed`) : null);
  if (!waiting) made.firstChild.data === '0' && made.firstChild.remove();
  if ($('count').outerHTML !== made.outerHTML) morph($('count'), made);
  const open = $('session')?.querySelector('h1').textContent;
  doc.title = (waiting ? `(${waiting}) ` : '') + (open ? `${open} · rrd` : 'rrd');
}
function hosts(list) {
  morph($('hosts'), h('ul', { id: 'hosts', 'aria-label': 'Hosts' }, ...list.map(host =>
    h('li', { class: host.state }, h('span', { class: 'dot', 'aria-hidden': 'true' }, host.state === 'away' ? '◌' : '●'),
      h('b', {}, clean(host.host)),
      host.state === 'away' ? h('i', {}, 'away', ...(host.since ? [' since ', time(host.since, 'clock', clock(host.since))] : [])) : null,
      host.duplicated ? h('i', {}, 'runs twice') : null,
      host.mirror ? h('i', { class: 'alarm' }, 'mirror fails', ...(host.mirror.since ? [' since ', time(host.mirror.since, 'clock', clock(host.mirror.since))] : []), ': ' +
        clean([host.mirror.url, host.mirror.transcripts_behind == null ? '' : `${host.mirror.transcripts_behind} transcripts`,
          `${host.mirror.pending_parts} parts behind`, host.mirror.error].filter(Boolean).join(', '))) : null))));
}

// Who waits for whom, in short; and all of it again, where it is looked at.
function tells({ circles, chains, tag }) {
  const many = (n, one) => n ? [`${n} ${one}${n > 1 ? 's' : ''}`] : [];
  say($('who'), [...many(circles, 'circle'), ...many(chains, 'chain')].join(', ') || 'Who waits for whom');
  $('who').classList.toggle('alarm', circles > 0);
  if (($('session')?.dataset.graph ?? tag) !== tag) refresh();
}

// The filter: words that a row must hold; `is:waiting` is a status.
const input = $('filter').elements.filter;
function sift() {
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const li of rows.values()) {
    const text = li.querySelector('a').textContent.toLowerCase();
    li.hidden = !wanted.every(word => word.startsWith('is:') ? li.classList.contains(word.slice(3)) && word !== 'is:row' : text.includes(word));
  }
  for (const section of all($('list'), 'section')) say(section.querySelector('.n'), String(all(section, 'li:not([hidden])').length));
  for (const chip of all(doc, '.chips a')) chip.toggleAttribute('aria-current', wanted.includes(chip.dataset.word));
  for (const chip of all(doc, '.chips a[aria-current]')) chip.setAttribute('aria-current', 'true');
  if (wanted.length) for (const fold of all($('list'), 'details')) fold.open = true;
  $('empty').hidden = rows.size > 0;
  $('none').hidden = !rows.size || [...rows.values()].some(li => !li.hidden);
}
function typed() {
  sift();
  if (location.pathname === '/') history.replaceState(history.state, '', input.value ? `/?filter=${encodeURIComponent(input.value)}` : '/');
}

// The stream: one, while somebody looks.
let stream, cut, heard = Date.now(), beats = false, wait = 1e3, last = body.dataset.event;
function listen() {
  if (stream || doc.hidden) return;
  stream = new EventSource('/events' + (last ? `?last_event_id=${encodeURIComponent(last)}` : ''));
  stream.onopen = () => { heard = Date.now(); wait = 1e3; clearTimeout(cut); cut = 0; $('stale').hidden = true; };
  stream.onerror = () => {
    lost();
    if (stream.readyState === 2) {
      hang();
      // Refused: whoever may look no more is told so.
      fetch('/', { method: 'HEAD' }).then(answer => { if ([401, 403].includes(answer.status)) location.reload(); }, () => {});
      setTimeout(listen, wait);
      wait = Math.min(wait * 2, 8e3);
    }
  };
  stream.addEventListener('snapshot', event => take(event, true));
  stream.addEventListener('change', event => take(event, false));
  stream.addEventListener('beat', () => { heard = Date.now(); beats = true; stillKnown(); });
}
function hang() { stream?.close(); stream = null; }
function lost() {
  const at = clock(now(), true);
  cut ||= setTimeout(() => { say($('stale'), `reconnecting · as of ${at}`); $('stale').hidden = doc.hidden; }, 3e3);
}
function take(event, whole) {
  const message = JSON.parse(event.data), changed = new Set(message.sessions.map(s => key(s)));
  heard = Date.now();
  last = event.lastEventId;
  skew = Date.parse(message.as_of) - heard;
  const gone = whole ? [...rows.keys()].filter(name => !changed.has(name)) : message.gone.map(parts => clean(parts.map(p => p ?? '').join('/')));
  for (const name of gone) { rows.get(name)?.remove(); rows.delete(name); }
  message.sessions.forEach(put);
  if (message.hosts) hosts(message.hosts);
  if (message.graph) tells(message.graph);
  if (whole) arrange([...new Set(message.sessions.map(s => rows.get(key(s))))]);
  else {
    // Two sessions may share a ref; they stand together then.
    const place = new Map(message.order.map((ref, i) => [clean(ref), i]));
    arrange([...rows.values()].sort((a, b) => (place.get(a.dataset.ref) ?? 1e9) - (place.get(b.dataset.ref) ?? 1e9)));
  }
  sift();
  headline();
  tick();
  const open = $('session')?.dataset.key;
  if (changed.has(open)) refresh(); else if (gone.includes(open)) stillKnown(true); else if (Date.now() - asked > 1e4) stillKnown();
}
// What was forgotten stays on no screen: in its place is what one would find who came now. Not every session is in the list: of
// those of this host it is asked now and then, those of others may be out of reach only.
let asked = 0;
async function stillKnown(told) {
  const article = $('session'), [, , host, ...rest] = location.pathname.split('/');
  asked = Date.now();
  const here = () => all($('hosts'), 'li.here b').some(b => b.textContent === clean(decodeURIComponent(host)));
  if (!article || !told && !here()) return;
  try {
    const answer = await fetch(['/sessions', host, ...rest].join('/'));
    if (answer.status === 404 && article === $('session')) location.reload();
  } catch { /* the stream says when nobody answers */ }
}

// A session, in place: its page is asked for, and its article taken.
let busy = false, again = false, from = 0;
async function get(path) {
  const answer = await fetch(path, { headers: { accept: 'text/html' } });
  return new DOMParser().parseFromString(await answer.text(), 'text/html');
}
const scroller = () => wide.matches ? $('session') : doc.scrollingElement;
const toEnd = () => { const s = scroller(); s.scrollTop = s.scrollHeight; };
const mark = () => { for (const li of rows.values()) li.classList.toggle('open', li.dataset.key === $('session')?.dataset.key); };
async function show(path, push) {
  let made;
  try { made = (await get(path)).getElementById('session'); } catch { return lost(); }
  if (!made) return location.assign(path);
  if (!$('session')) from = scrollY;
  $('session')?.remove();
  body.append(doc.adoptNode(made));
  if (push) history.pushState({ within: true }, '', path);
  seen.add(made.dataset.key);
  entered();
  const title = made.querySelector('h1');
  title.tabIndex = -1;
  title.focus({ preventScroll: true });
}
function entered() {
  local($('session'));
  if ($('log')) local($('log'));
  mark();
  headline();
  tick();
  if (!$('session').dataset.graph && !moment() && !$('session').querySelector('.newest')) toEnd();
  watch();
}
function leave() {
  const was = $('session')?.dataset.key;
  $('session')?.remove();
  mark();
  headline();
  if (!wide.matches) scrollTo(0, from);
  rows.get(was)?.querySelector('a').focus({ preventScroll: true });
}
// What is new, from the oldest call on that has no answer yet.
async function refresh() {
  if (busy) return void (again = true);
  busy = true;
  again = false;
  const article = $('session'), log = $('log'), path = location.pathname;
  const lines = log && !article.querySelector('.newest') ? [...log.children] : [];
  const open = lines.slice(-40).find(li => li.classList.contains('unanswered'));
  const after = open ? Number(open.dataset.seq) - 1 : log ? Number(log.dataset.last || -1) : -1;
  try {
    const page = await get(after >= 0 && lines.length ? `${path}?after=${after}` : path);
    const made = page.getElementById('session'), fresh = page.getElementById('log');
    if (article === $('session') && made?.dataset.key === article.dataset.key) {
      const s = scroller(), follow = s.scrollHeight - s.scrollTop - s.clientHeight < 120;
      article.className = made.className;
      if (made.dataset.graph) article.dataset.graph = made.dataset.graph;
      for (const part of ['header', '.next']) morph(article.querySelector(part), made.querySelector(part));
      if (fresh && lines.length) {
        local(fresh);
        for (const li of [...fresh.children]) {
          const old = log.querySelector(`:scope > [data-seq="${Number(li.dataset.seq)}"]`);
          if (old) morph(old, li); else log.append(li);
        }
        if (fresh.dataset.last) log.dataset.last = fresh.dataset.last;
        again ||= !!made.querySelector('.newest');
      } else if (!lines.length && !article.querySelector('.newest')) {
        morph(article.querySelector('.activity'), made.querySelector('.activity'));
      }
      if (follow && log) toEnd();
      local(article);
      if ($('log')) local($('log'));
      tick();
      headline();
    }
  } catch { lost(); }
  setTimeout(() => { busy = false; if (again && $('session')) refresh(); }, 300);
}
// The strip: a finger on it tells where it is, and goes there when it leaves.
const columns = () => all(doc, '.scrub a');
function point(a) {
  for (const other of columns()) other.classList.toggle('here', other === a);
  const said = a.getAttribute('aria-label'), at = a.dataset.at;
  say(doc.querySelector('.strip output'), at ? `${clock(at, true)} · ${said}` : said);
}
// Of several ways to go the last one counts.
let way = 0;
async function goto(query) {
  const article = $('session'), own = way += 1;
  let made;
  try { made = (await get(location.pathname + query)).getElementById('session'); } catch { return lost(); }
  if (!made || article !== $('session') || own !== way) return;
  article.querySelector('.activity').replaceWith(doc.adoptNode(made.querySelector('.activity')));
  if ($('log')) local($('log'));
  if (!land($('log')?.dataset.sought)) toEnd();
  tick();
  watch();
}
// An event that is here, at the top, and its column.
const first = a => Number(a.dataset.first ?? a.hash.slice(2));
function land(seq) {
  const li = $(`e${seq}`)?.closest('li'), a = columns().filter(a => first(a) <= Number(seq)).pop();
  if (li && a) point(a);
  li?.scrollIntoView({ block: 'start' });
  return !!li;
}
// To the event that gave a column its sign.
function tap(a) {
  history.replaceState(history.state, '', location.pathname + (a.dataset.at ? `#t=${encodeURIComponent(a.dataset.at)}` : a.hash));
  goto(a.search);
}
// `#t=TIME` and `#eN` in the address: the last event by then, and that event, unless it is here.
function moment() {
  const [, name, value] = location.hash.match(/^#(t=|e)(.+)$/) ?? [];
  let at;
  try { at = new Date(decodeURIComponent(value)); } catch { /* no time */ }
  const is = name === 'e' ? /^\d+$/.test(value) : name && at >= 0;
  if (!is || !$('log')) return false;
  if (name !== 'e' || !land(value)) goto(name === 'e' ? `?around=${value}` : `?t=${encodeURIComponent(at.toISOString())}`);
  return true;
}
let held;
// Where nothing happened, what happened before.
const under = event => {
  let at = doc.elementFromPoint(event.clientX, held.getBoundingClientRect().top + 24)?.closest?.('.scrub > *');
  while (at && at.tagName !== 'A') at = at.previousElementSibling;
  if (at) point(at);
  return at;
};
addEventListener('pointerdown', event => {
  if (event.button || !(held = event.target.closest?.('.scrub'))) return;
  held.setPointerCapture(event.pointerId);
  under(event);
});
addEventListener('pointermove', event => { if (held) under(event); });
addEventListener('pointerup', event => {
  if (!held) return;
  const a = under(event) ?? doc.querySelector('.scrub .here');
  held = null;
  if (a) tap(a);
});
addEventListener('pointercancel', () => { held = null; });
addEventListener('dragstart', event => { if (event.target.closest?.('.strip')) event.preventDefault(); });
addEventListener('dblclick', event => {
  if (!event.target.closest?.('.scrub')) return;
  way += 1;
  history.replaceState(history.state, '', location.pathname);
  show(location.pathname, false);
});

// What is older, when its link comes into sight.
let sight;
function watch() {
  sight?.disconnect();
  const link = $('session')?.querySelector('.older');
  if (!link) return;
  sight = new IntersectionObserver(entries => { if (entries.some(e => e.isIntersecting)) older(link); }, { root: wide.matches ? $('session') : null, rootMargin: '400px' });
  sight.observe(link);
}
async function older(link) {
  sight.disconnect();
  let page;
  try { page = await get(link.href); } catch { return; }
  const fresh = page.getElementById('log'), next = page.querySelector('.older'), log = $('log');
  if (!fresh || !link.isConnected) return;
  local(fresh);
  const s = scroller(), before = s.scrollHeight, top = s.scrollTop;
  log.prepend(...fresh.children);
  if (next) link.replaceWith(doc.adoptNode(next)); else link.remove();
  s.scrollTop = top + s.scrollHeight - before;
  watch();
}

// Hands.
function copy(button) {
  const code = button.previousElementSibling, range = doc.createRange();
  range.selectNodeContents(code);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  // Plain http has no clipboard but this one.
  let done = false;
  try { done = doc.execCommand('copy'); } catch { /* selected all the same */ }
  say(button, done ? 'Copied' : 'Selected');
  setTimeout(() => say(button, 'Copy'), 2e3);
}
addEventListener('click', event => {
  const button = event.target.closest?.('.copy'), link = event.target.closest?.('a');
  if (button) return copy(button);
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.dataset.word) {
    const given = input.value.split(/\s+/).filter(Boolean), rest = given.filter(word => word !== link.dataset.word);
    input.value = (rest.length < given.length ? rest : [...rest, link.dataset.word]).join(' ');
    typed();
  } else if (link.closest('#none')) { input.value = ''; typed(); }
  else if (link.className === 'back') {
    if (history.state?.within) history.back(); else { history.pushState(null, '', '/'); leave(); }
  } else if (link.closest('li.row, .lanes, .graph')) show(link.getAttribute('href'), true);
  else if (link.className === 'older') older(link);
  else if (link.closest('.scrub')) { if (!event.detail) { point(link); tap(link); } }
  else return;
  event.preventDefault();
});
addEventListener('popstate', () => { if (location.pathname === '/') leave(); else show(location.pathname, false); });
addEventListener('keydown', event => {
  if (event.key === '/' && event.target !== input) { event.preventDefault(); input.focus(); }
  if (event.key === 'Escape') { if (event.target === input) input.blur(); else $('session')?.querySelector('.back').click(); }
});
input.addEventListener('input', typed);
$('filter').addEventListener('submit', event => { event.preventDefault(); input.blur(); });
doc.addEventListener('visibilitychange', () => {
  if (doc.hidden) { hang(); clearTimeout(cut); cut = 0; store.set('looked', now()); }
  else { looked = Number(store.get('looked')) || looked; tick(); listen(); stillKnown(); }
});
addEventListener('pagehide', () => { store.set('looked', now()); hang(); });
addEventListener('pageshow', listen);
addEventListener('offline', lost);
addEventListener('online', () => { hang(); listen(); });
setInterval(() => {
  if (doc.hidden) return;
  tick();
  // The network may go without a word: a server that beats is missed.
  if (stream && beats && Date.now() - heard > 4e4) { heard = Date.now(); lost(); hang(); listen(); }
}, 1e3);

local(doc);
if (wide.matches) $('idle').querySelector('details').open = true;
if ($('session')) entered();
arrange([...rows.values()]);
sift();
headline();
tick();
listen();
})();
