/*
 * What pages can do beyond links and forms, which do everything without it: parts of a page are exchanged instead of the
 * whole page, and kept up to date; forms stay until the service has accepted them; instants are shown in another way;
 * lanes say what they show, and a time range is chosen by dragging. Content of the database is text.
 */
'use strict';

// A response, and the page in it; throws Lost if there is none.
class Lost extends Error {}
const ask = async (href, told) => {
  try {
    const answer = await fetch(href, told);
    return [answer, new DOMParser().parseFromString(await answer.text(), 'text/html')];
  } catch {
    throw new Lost(href);
  }
};
const load = async (href, more = {}) => {
  const [answer, found] = await ask(href, {redirect: 'manual', headers: {Accept: 'text/html', ...more}});
  if (!answer.ok) throw new Error(answer.statusText);  // Also if it leads elsewhere, as to the log-in.
  return found;
};

// What is said of a request that has no answer yet, or gets none: above the buttons of its form, or above the content.
const PATIENCE = 3000;  // Milliseconds until it is said that there is no answer yet.
const LOST = 'The service did not answer. Try again.';
const UNSURE = 'The service did not answer. What you wrote is kept; check whether it was done before you send it again.';
const WAITING = 'The service has not answered yet. What you wrote is kept.';
const notice = document.createElement('div');
const say = (place, tone, content) => {
  notice.className = `notice ${tone}`;
  notice.setAttribute('role', tone === 'error' ? 'alert' : 'status');
  notice.replaceChildren(content);
  const near = place.isConnected && place.closest('.ends, .chooser, .filters');
  (near || document.getElementById('panel') || document.querySelector('h1')).before(notice);
  notice.scrollIntoView({block: 'nearest'});
};
const lateFor = place => setTimeout(say, PATIENCE, place, 'running', WAITING);

// Instants, which are sent in UTC, as the user chose: in UTC, in the time zone of the browser, or by their distance.
const TIMES = {utc: 'UTC', local: 'Local', relative: 'Relative'};
const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
const distance = time => {
  const seconds = (time - Date.now()) / 1000, [unit, length] = UNITS.find(each => Math.abs(seconds) >= each[1]) || UNITS[3];
  return new Intl.RelativeTimeFormat('en').format(Math.trunc(seconds / length), unit);
};
const showTimes = () => {
  for (const each of document.querySelectorAll('time[datetime]')) {
    const time = new Date(each.dateTime), utc = each.dataset.utc ||= each.textContent;
    const local = new Date(time - time.getTimezoneOffset() * 60000).toISOString().replace('T', ' ').slice(0, utc.length);
    const shown = {utc, local, relative: distance(time)};
    each.textContent = shown[document.documentElement.dataset.times] || utc;
    each.title = `${utc} UTC\n${local} local time\n${shown.relative}`;
  }
};
const switchTimes = button => {
  const names = Object.keys(TIMES), root = document.documentElement.dataset;
  root.times = names[(names.indexOf(root.times) + 1) % names.length];
  document.cookie = `times=${root.times};path=/ui;max-age=31536000;samesite=strict`;
  button.textContent = `Times: ${TIMES[root.times]}`;
  showTimes();
};

// What is chosen in a form by boxes: how much, and what can be done with it.
const showChosen = () => {
  for (const chooser of document.querySelectorAll('.chooser')) {
    const form = chooser.closest('form'), heads = [...form.querySelectorAll('[data-all]')], all = form.elements.all;
    const boxes = within => [...within.querySelectorAll(`[name="${heads[0]?.dataset.all}"]`)];
    const count = boxes(form).filter(each => each.checked).length;
    for (const head of heads) {
      const own = boxes(head.closest('table')), chosen = own.filter(each => each.checked).length;
      head.checked = chosen > 0 && chosen === own.length;
      head.indeterminate = chosen > 0 && chosen < own.length;
    }
    for (const each of [...boxes(form), ...heads]) each.disabled = all.checked;
    chooser.querySelector('.chosen').textContent = all.checked ? 'All chosen' : count ? `${count} chosen` : 'None chosen';
    for (const button of chooser.querySelectorAll('button')) button.disabled = !all.checked && !count;
  }
};
addEventListener('pageshow', showChosen);  // Going back restores what was chosen.

// Parts that are kept up to date, each perhaps with another one: they are fetched again after some seconds, from the
// same page or a smaller one, unless something is being written or chosen in them.
const awaited = new WeakSet();
const wait = part => {
  awaited.add(part);
  setTimeout(() => document.hidden ? part.isConnected && wait(part) : refresh(part), 1000 * part.dataset.live);
};
const inUse = part => [...part.querySelectorAll('input, select, textarea')].some(each => each === document.activeElement ||
  (each.type === 'text' && each.value !== each.defaultValue) || each.checked !== each.defaultChecked);
const refresh = async part => {
  try {
    if (!part.isConnected) return;
    const asked = location.href, found = await load(part.dataset.from || asked, {'X-By-Itself': 'yes'});
    if (!part.isConnected || !found.getElementById(part.id)) return;
    if (inUse(part) || asked !== location.href) return wait(part);
    // What has the focus is found again in what takes its place.
    const active = document.activeElement, href = active.getAttribute('href');
    const same = active.id ? `#${CSS.escape(active.id)}` : href ? `a[href="${CSS.escape(href)}"]` : '';
    for (const id of [part.id, part.dataset.with]) {
      const here = id && document.getElementById(id), there = id && found.getElementById(id);
      if (here && there && !inUse(here)) here.replaceWith(there);
    }
    if (same && !active.isConnected) document.querySelector(same)?.focus();
    showTimes();
    showChosen();
    keepUp();
  } catch {
    if (part.isConnected) wait(part);  // A lost connection, or a session that is over.
  }
};
const keepUp = () => {
  for (const part of document.querySelectorAll('[data-live]')) if (!awaited.has(part)) wait(part);
};

// After a part of the page was exchanged.
const renew = () => {
  tip.hidden = true;
  restore();
  showTimes();
  showChosen();
  keepUp();
};

// Links and forms whose page only differs below its top: fetch it, and put its parts in the place of those that are here.
const PARTS = ['#state', '.picture', '.tabs', '#panel'];
const follow = async (href, push, focus) => {
  const main = document.getElementById('main'), active = document.activeElement;
  // What has the focus is found again in what takes its place.
  const same = active.form && active.name ? `.${active.form.classList[0]} [name="${active.name}"]` : '';
  focus ||= same && active.matches('button') ? `${same}[value="${active.value}"]` : same;
  main.setAttribute('aria-busy', 'true');
  const late = lateFor(active);
  try {
    const found = await load(href);
    notice.remove();
    for (const part of PARTS) {
      const here = document.querySelector(part), there = found.querySelector(part);
      if (!here !== !there) throw new Error(part);
      if (here) here.replaceWith(there);
    }
    document.title = found.title;
    renew();
    if (push) history.pushState(null, '', href);
    shown = location.pathname + location.search;
    const next = focus && document.querySelector(focus);
    if (next) next.focus();
  } catch (error) {
    if (error instanceof Lost) say(active, 'error', LOST);
    else location.assign(href);
  } finally {
    clearTimeout(late);
    main.removeAttribute('aria-busy');
  }
};

// Going to a part of the same page is one as well.
let shown = location.pathname + location.search;
addEventListener('popstate', () => {
  if (document.querySelector('#panel') && shown !== location.pathname + location.search) follow(location.href, false);
});

document.addEventListener('click', event => {
  if (event.target.closest('[data-theme-switch]')) return switchTheme();
  if (event.target.closest('[data-palette]') && !event.ctrlKey && !event.metaKey) return event.preventDefault(), openPalette();
  const times = event.target.closest('[data-times-switch]');
  if (times) return switchTimes(times);
  const link = event.target.closest('.tabs a, a[data-swap]');
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  follow(link.href, true, link.closest('.tabs') ? '.tabs [aria-current]' : '');
});

document.addEventListener('submit', event => {
  const form = event.target;
  if (form.method !== 'get' || 'load' in form.dataset || event.defaultPrevented) return;
  event.preventDefault();
  const query = new URLSearchParams(), last = new Map(new FormData(form, event.submitter));
  for (const [name, value] of last) if (value) query.set(name, value);
  follow(`${form.getAttribute('action')}?${query}`, true);
});

// Ctrl-K: the page of search above any page. Enter follows the first result, arrows go through them; / goes to the
// search of the page itself.
const palette = document.createElement('dialog');
palette.className = 'palette';
palette.setAttribute('aria-label', 'Search');
let asked = 0, answered = 0, entered = 0;
const openPalette = () => {
  palette.innerHTML = '<input type="search" aria-label="Search" placeholder="table, policy, page" autocomplete="off" spellcheck="false"><div id="found"></div>';
  document.body.append(palette);
  if (!palette.open) palette.showModal();
  find('');
};
const find = async text => {
  const mine = ++asked;
  try {
    const found = (await load(`/ui/search?${new URLSearchParams({q: text})}`)).getElementById('results');
    if (mine !== asked) return;
    palette.lastChild.replaceChildren(...found.childNodes);
    answered = mine;
    if (entered === mine) palette.querySelector('a')?.click();
  } catch (error) {
    if (mine !== asked) return;
    if (error instanceof Lost) palette.lastChild.textContent = LOST;
    else location.assign('/ui/search');  // A session that is over.
  }
};
palette.addEventListener('input', event => find(event.target.value));
palette.addEventListener('click', event => { if (event.target === palette) palette.close(); });
palette.addEventListener('close', () => palette.remove());
palette.addEventListener('keydown', event => {
  const places = [palette.firstChild, ...palette.querySelectorAll('a')], here = places.indexOf(document.activeElement);
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  if (step) event.preventDefault(), places[(here + step + places.length) % places.length].focus();
  if (event.key !== 'Enter' || here !== 0) return;
  event.preventDefault();
  if (answered === asked) places[1]?.click();
  else entered = asked;
});
document.addEventListener('keydown', event => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k' && document.querySelector('[data-palette]')) {
    event.preventDefault();
    openPalette();
  }
  const written = event.target.closest('input:not([type="checkbox"]), textarea, select');
  const field = event.key === '/' && !written && document.querySelector('.filters input:not([type="hidden"])');
  if (field) event.preventDefault(), field.focus();
});

// A choice is a filter at once; a box above others of a table chooses all of them.
document.addEventListener('change', event => {
  const {target} = event;
  if (target.matches('.filters select')) target.form.requestSubmit();
  for (const each of target.dataset.all ? target.closest('table').querySelectorAll(`[name="${target.dataset.all}"]`) : []) each.checked = target.checked;
  showChosen();
});

// Values that a field offers are fetched once it is used.
document.addEventListener('focusin', async event => {
  const {suggest} = event.target.dataset || {}, list = suggest && event.target.list;
  if (!list || list.childElementCount) return;
  try {
    list.replaceChildren(...(await load(suggest)).querySelectorAll('option'));
  } catch {
    // It can be written all the same.
  }
});

// What was written into a form is kept until the service has accepted it: a session may be over, a connection lost.
document.addEventListener('submit', event => {
  const {target: form, submitter} = event;
  // Not of a preview, whose address has it all, nor of what another script sends.
  if (event.defaultPrevented || form.method !== 'post' || submitter?.formMethod === 'get') return;
  if (form.elements.do) {  // Not the log-in, whose token is kept nowhere.
    const fields = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === 'string'));
    sessionStorage.setItem('draft', JSON.stringify({path: location.pathname, search: location.search, fields}));
  }
  if (submitter && 'load' in submitter.dataset) return;
  event.preventDefault();
  if (!form.hasAttribute('aria-busy')) send(form, submitter);
});

// Such a form stays where it is until there is an answer. What was done leads to another page; what was refused, or is
// asked, takes the place of this one; what the service could not do is said beside the form.
const send = async (form, submitter) => {
  const place = submitter || form, data = new FormData(form, submitter), late = lateFor(place);
  const lost = form.elements.do ? UNSURE : LOST;
  let leaving = false;
  notice.remove();
  form.setAttribute('aria-busy', 'true');
  try {
    const body = form.enctype === 'multipart/form-data' ? data : new URLSearchParams(data);
    const [answer, found] = await ask(form.getAttribute('action') || location.href, {method: 'POST', body, headers: {Accept: 'text/html'}});
    const main = found.getElementById('main'), trouble = found.querySelector('.trouble');
    if (answer.redirected) {
      leaving = true;
      location.assign(answer.url);
    } else if (trouble) {
      say(place, 'stack', trouble);
    } else if (main) {
      document.getElementById('main').replaceWith(main);
      document.title = found.title;
      renew();
      scrollTo(0, 0);
      (main.querySelector('[autofocus]') || main).focus();
    } else {
      say(place, 'error', lost);
    }
  } catch {
    say(place, 'error', lost);
  } finally {
    clearTimeout(late);
    if (!leaving) form.removeAttribute('aria-busy');
  }
};
addEventListener('pageshow', () => {  // Going back.
  for (const each of document.querySelectorAll('form[aria-busy]')) each.removeAttribute('aria-busy');
});
const restore = () => {
  const draft = JSON.parse(sessionStorage.getItem('draft') || 'null');
  if (!draft || draft.path !== location.pathname) return;
  if (document.querySelector('.done')) return sessionStorage.removeItem('draft');
  const form = document.querySelector(`input[name="do"][value="${CSS.escape(draft.fields.do || '')}"]`)?.form;
  for (const [name, value] of Object.entries(form && form.method === 'post' ? draft.fields : {})) {
    const field = form.elements[name];
    if (name === 'confirm' || !field || !('value' in field) || field.type === 'hidden') continue;
    if (!field.value || draft.search === location.search) field.value = value;  // Another link may have filled it.
  }
};
restore();

const switchTheme = () => {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme.includes('dark') &&
    (root.dataset.theme === 'dark' || matchMedia('(prefers-color-scheme: dark)').matches);
  root.dataset.theme = dark ? 'light' : 'dark';
  document.cookie = `dark=${dark ? 0 : 1};path=/ui;max-age=31536000;samesite=strict`;
};

// Lanes: what a bar shows, beside the pointer.
const tip = document.createElement('div');
tip.className = 'tip';
tip.hidden = true;
tip.ariaHidden = 'true';  // Pictures have sentences.
document.body.append(tip);
document.addEventListener('pointermove', event => {
  const bar = event.target.closest?.('[data-tip]');
  tip.hidden = !bar || Boolean(drag);
  if (tip.hidden) return;
  tip.textContent = bar.dataset.tip;
  const {width, height} = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
});

// Dragging over the lanes chooses a time range for the form below them.
let drag = null;
const instant = (track, x) => {
  const {left, width} = track.getBoundingClientRect(), {start, end} = track.closest('.lanes').dataset;
  return Number(start) + (Number(end) - Number(start)) * Math.min(Math.max((x - left) / width, 0), 1);
};
const written = (time, whole) => {
  const text = new Date(time).toISOString();
  return whole > 30 * 86400000 ? text.slice(0, 10) : `${text.slice(0, 16)}Z`;
};
document.addEventListener('pointerdown', event => {
  const track = event.pointerType === 'mouse' && !event.button && event.target.closest?.('.track');
  if (!track) return;
  event.preventDefault();
  const band = document.createElement('div');
  band.className = 'dragged';
  drag = {track, band, from: event.clientX};
});
document.addEventListener('pointermove', event => {
  if (!drag || Math.abs(event.clientX - drag.from) < 4) return;
  const lanes = drag.track.closest('.lanes'), box = lanes.getBoundingClientRect(), track = drag.track.getBoundingClientRect();
  const ends = [drag.from, event.clientX].map(x => Math.min(Math.max(x, track.left), track.right)).sort((a, b) => a - b);
  if (!drag.band.isConnected) lanes.append(drag.band);
  drag.band.style.left = `${ends[0] - box.left}px`;
  drag.band.style.width = `${ends[1] - ends[0]}px`;
});
document.addEventListener('pointerup', event => {
  if (!drag) return;
  const {track, band, from} = drag;
  drag = null;
  if (!band.isConnected) return;
  band.remove();
  const form = track.closest('.picture').querySelector('.stretch'), {start, end} = track.closest('.lanes').dataset;
  const times = [instant(track, from), instant(track, event.clientX)].sort((a, b) => a - b);
  [form.elements.from.value, form.elements.until.value] = times.map(time => written(time, end - start));
  form.requestSubmit();
});

showTimes();
keepUp();

// The current entry of a menu that scrolls.
for (const each of document.querySelectorAll('.menu [aria-current], .tabs [aria-current]')) {
  each.parentElement.scrollLeft = each.offsetLeft - each.parentElement.offsetLeft - 24;
}
