// Makes a session in a file move: a finger on its timeline, keys, addresses of moments. Reads what is in the
// file and asks nobody for anything.
'use strict';
(() => {
const doc = document, $ = id => doc.getElementById(id), all = what => [...doc.querySelectorAll(what)];
doc.documentElement.classList.add('js');
const items = all('#log li'), columns = all('.scrub a'), scrub = doc.querySelector('.scrub'), said = doc.querySelector('.strip output');
const seq = li => Number(li.dataset.seq), first = a => Number(a.dataset.first ?? a.hash.slice(2));
const line = id => $(id)?.closest('#log li');

// Times in the reader's zone; the day where it is another than before.
const two = n => String(n).padStart(2, '0');
const day = t => `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`;
const time = t => `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
const full = at => { const t = new Date(at); return isNaN(t) ? '?' : `${day(t)} ${time(t)}`; };
for (const t of all('header time, .made time')) { t.title = t.textContent; t.textContent = full(t.dateTime); }
// On the strip the day only where there are several.
const ends = all('.strip time'), days = new Set(ends.map(t => day(new Date(t.dateTime)))).size;
const short = at => days > 1 ? full(at).slice(5) : full(at).slice(11);
for (const t of ends) { t.title = t.textContent; t.textContent = short(t.dateTime); }
const times = all('#log time.clock');
let before;
(function some(from) {
  for (const t of times.slice(from, from + 2000)) {
    const at = new Date(t.dateTime), its = day(at);
    t.title = t.textContent;
    t.textContent = isNaN(at) ? '?' : its === before ? time(at) : `${its} ${time(at)}`;
    before = its;
  }
  if (from + 2000 < times.length) setTimeout(some, 0, from + 2000);
})(0);

// Where one is: what was gone to last, unless the page was moved since; else what is at its top.
let gone, goneTo, aim, lit, steps = 0;
function here() {
  if (gone && Math.abs(scrollY - goneTo) < 2) return gone;
  const top = doc.querySelector('header').getBoundingClientRect().bottom;
  for (let y = top + 8; y < innerHeight; y += 24) {
    const li = doc.elementFromPoint(innerWidth / 2, y)?.closest('#log li');
    if (li) return li;
  }
  return items[0];
}
function go(li, show) {
  if (!li) return;
  lit?.classList.remove('at-hand');
  lit = show ? li : null;
  if (show) { li.classList.add('at-hand'); const fold = li.querySelector('details'); if (fold) fold.open = true; }
  // What was not laid out yet has another height afterwards: again, until it stays.
  aim = li;
  if (!steps) requestAnimationFrame(step);
  steps = 6;
}
function step() {
  aim.scrollIntoView({ block: 'start' });
  const stays = gone === aim && goneTo === scrollY;
  [gone, goneTo] = [aim, scrollY];
  // What comes into sight with it gets its height a picture later.
  steps = Math.min(steps, stays ? 3 : 6) - 1;
  if (steps) requestAnimationFrame(step); else follow();
}
function point(a) {
  if (!a) return;
  for (const other of columns) other.classList.toggle('here', other === a);
  const label = a.getAttribute('aria-label');
  said.textContent = a.dataset.at ? `${short(a.dataset.at)} · ${label}` : label;
}
// The last of some that are in order for which that holds.
function last(list, holds) {
  let [from, to] = [0, list.length];
  while (from < to) { const mid = (from + to) >> 1; if (holds(list[mid])) from = mid + 1; else to = mid; }
  return list[from - 1];
}
const column = li => last(columns, a => first(a) <= seq(li)) ?? columns[0];
const follow = () => { const li = here(); if (li && !held) point(column(li)); };
const remember = hash => { try { history.replaceState(null, '', hash); } catch { /* some browsers keep files as they are */ } };

// A finger on the strip.
let held = false;
function drag(event) {
  let at = doc.elementFromPoint(event.clientX, scrub.getBoundingClientRect().top + 24)?.closest('.scrub > *');
  while (at && at.tagName !== 'A') at = at.previousElementSibling;
  if (!at) return;
  point(at);
  go(line(at.hash.slice(1)));
  return at;
}
scrub?.addEventListener('pointerdown', event => { if (!event.button) { held = true; scrub.setPointerCapture(event.pointerId); drag(event); } });
scrub?.addEventListener('pointermove', event => { if (held) drag(event); });
scrub?.addEventListener('pointerup', event => {
  const at = held && drag(event);
  held = false;
  if (at) remember(at.dataset.at ? `#t=${at.dataset.at}` : at.hash);
});
scrub?.addEventListener('pointercancel', () => { held = false; });
scrub?.addEventListener('dragstart', event => event.preventDefault());
scrub?.addEventListener('click', event => { if (event.detail) event.preventDefault(); });

// Jumps: to the next, or the one before. What was taken back is none.
const places = {
  error: items.filter(li => li.matches('.error:not(.withdrawn)')),
  wait: [...new Set((scrub?.closest('.strip').parentElement.dataset.waits ?? '').split(' ').filter(Boolean).map(n => line(`e${n}`)).filter(Boolean))],
  edit: items.filter(li => li.matches('.edit:not(.withdrawn)')),
  any: items,
};
function jump(what, forward) {
  const at = here();
  if (!at) return;
  const found = forward ? places[what].find(li => seq(li) > seq(at)) : last(places[what], li => seq(li) < seq(at));
  if (!found) { said.textContent = `no ${forward ? 'further' : 'earlier'} ${what}`; return; }
  go(found, what !== 'any');
  remember(`#e${seq(found)}`);
}
for (const button of all('.jumps button')) {
  const { length } = places[button.dataset.to];
  button.textContent = `${length.toLocaleString('en')} ${button.dataset.to}${length === 1 ? '' : 's'} ›`;
  button.disabled = !length;
  button.addEventListener('click', event => jump(button.dataset.to, !event.shiftKey));
}
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const to = { e: 'error', w: 'wait', d: 'edit' }[event.key.toLowerCase()];
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (to) jump(to, event.key === event.key.toLowerCase());
  else if (way && event.shiftKey) {
    const at = columns[columns.indexOf(column(here())) + way];
    if (at) go(line(at.hash.slice(1)));
  } else if (way) jump('any', way > 0);
  else return;
  event.preventDefault();
});

// `#t=TIME` and `#eN`: to the last event of that time, or to that event.
function address() {
  const [, name, value] = location.hash.match(/^#(t=|e)(.+)$/) ?? [];
  if (name === 'e') return go(line(`e${value}`), true);
  let at = NaN;
  try { at = Date.parse(decodeURIComponent(value)); } catch { /* no time */ }
  if (name !== 't=' || isNaN(at)) return false;
  // By their numbers; a result stands in the line of its call.
  const moments = [...times.map(t => [seq(t.closest('li')), t.dateTime, t]), ...all('#log .result[data-at]').map(r => [Number(r.id.slice(1)), r.dataset.at, r])]
    .map(([seq, time, node]) => [seq, Date.parse(time), node]).sort((a, b) => a[0] - b[0]);
  // Where the clock was set back, the one that has it to the letter.
  const upTo = holds => moments.findLast(([, time]) => holds(time));
  go((upTo(time => time === at) ?? upTo(time => time <= at) ?? moments[0])?.[2].closest('li'), true);
}
addEventListener('hashchange', address);
let waits = 0;
addEventListener('scroll', () => { waits ||= requestAnimationFrame(() => { waits = 0; follow(); }); }, { passive: true });
if (address() === false) follow();
})();
