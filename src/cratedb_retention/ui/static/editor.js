/*
 * The form of a policy: while one writes, all of it is sent, and what comes back takes the place of what is here, without
 * touching what is being written. The draft is kept in this browser until it is saved, so that a session that is over, a
 * lost connection or another service lose nothing; leaving with changes asks.
 */
'use strict';

{
  const PAUSE = 400;  // Milliseconds after the last key until the effect is asked for.
  const AGAIN = 3000;  // After a request that failed.
  const KEY = 'editing';
  const form = document.querySelector('form[data-draft]'), at = form.dataset.draft;
  const kept = JSON.parse(sessionStorage.getItem(KEY) || 'null');
  let timer = 0, busy = false, waiting = false, pressed = [], leaving = false, restored = false;

  // Makes one element like another one, and keeps those that are there: the focus, and what is written.
  const alike = (here, there) => here.nodeType === there.nodeType && here.nodeName === there.nodeName && !here.id;
  const morph = (here, there) => {
    if (here.nodeType !== Node.ELEMENT_NODE) {
      if (here.data !== there.data) here.data = there.data;
      return;
    }
    for (const {name} of [...here.attributes]) if (name !== 'open' && !there.hasAttribute(name)) here.removeAttribute(name);
    for (const {name, value} of there.attributes) if (name !== 'open' && here.getAttribute(name) !== value) here.setAttribute(name, value);
    let place = here.firstChild;
    for (const node of [...there.childNodes]) {
      const known = node.id ? [...here.children].find(each => each.id === node.id) : place && alike(place, node) ? place : null;
      if (known && known === place) place = place.nextSibling;
      else here.insertBefore(known || document.importNode(node, true), place);
      if (known) morph(known, node);
    }
    while (place) {
      const gone = place;
      place = place.nextSibling;
      gone.remove();
    }
    if (here === document.activeElement || here.closest('[data-typed]')) return;
    if (here.matches('[type=checkbox], [type=radio]')) here.checked = there.checked;
    else if (here.matches('input, textarea, select') && here.value !== there.value) here.value = there.value;
  };

  const written = (buttons = []) => {
    const data = new URLSearchParams(new FormData(form));
    for (const [name, value] of buttons) if (name) data.append(name, value);
    return data;
  };
  const isPut = ([name]) => name === 'put';  // It writes something into a field.
  const keep = () => sessionStorage.setItem(KEY, JSON.stringify({at, body: `${written(pressed.filter(isPut))}`}));
  const forget = () => {
    leaving = true;
    sessionStorage.removeItem(KEY);
  };

  // One request at a time. What is written or pressed meanwhile comes with the next one, and what comes back is out of date
  // then. So what buttons put into fields is sent until an answer with it is shown.
  const send = async (button = null, body = null) => {
    if (button) pressed.push([button.name, button.value]);
    if (busy) return void (waiting = true);
    const sent = [...pressed], saving = sent.some(([, value]) => value === 'save');
    let shown = false;
    body ??= written(sent);
    busy = true;
    form.setAttribute('aria-busy', 'true');
    clearTimeout(timer);
    const late = setTimeout(() => { document.getElementById('waiting').hidden = false; }, PATIENCE);
    try {
      const answer = await fetch(at, {method: 'POST', body, headers: {Accept: 'text/html'}});
      if (saving && answer.ok && answer.redirected) {
        forget();
        return location.assign(answer.url);
      }
      const found = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const there = found.querySelector('form[data-draft]');
      if (!there) throw new Error(answer.statusText);
      if (waiting && !saving) return;
      morph(form, there);
      shown = true;
      document.getElementById('restored').hidden = !restored;
      showTimes();
      if (form.hasAttribute('data-dirty')) keep();
      else sessionStorage.removeItem(KEY);
      if (saving) {
        for (const each of form.querySelectorAll('details:has(.mistake)')) each.open = true;
        form.querySelector('[role="alert"]:not([hidden])')?.scrollIntoView({block: 'nearest'});
      }
    } catch {
      document.getElementById('lost').hidden = false;
      timer = setTimeout(refresh, AGAIN);
    } finally {
      busy = false;
      clearTimeout(late);
      document.getElementById('waiting').hidden = true;
      form.removeAttribute('aria-busy');
      pressed = pressed.filter(each => !sent.includes(each) || (isPut(each) && !shown));
      const again = waiting && !leaving;
      waiting = false;
      if (again) send();
    }
  };
  const refresh = () => send();

  form.addEventListener('input', event => {
    form.dataset.dirty = 'true';
    const field = `${event.target.name.split(':')[0]}=`;  // What is typed later counts.
    pressed = pressed.filter(each => !isPut(each) || !each[1].startsWith(field));
    keep();
    if (event.target.closest('[data-typed]')) return;
    waiting ||= busy;
    clearTimeout(timer);
    timer = setTimeout(refresh, event.target.matches('[type=checkbox], [type=radio], select') ? 0 : PAUSE);
  });
  form.addEventListener('submit', event => {
    event.preventDefault();
    if (form.hasAttribute('data-dirty')) keep();
    send(event.submitter);
  });
  // Enter in the field that confirms saves; elsewhere it only shows the effect.
  form.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.isComposing || !event.target.closest('[data-typed]')) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector('button[name="do"][value="save"]'));
  });
  form.addEventListener('click', event => {
    if (event.target.closest('#lost a')) leaving = true;  // It leads back here.
    const discarding = event.target.closest('[data-discard]');
    if (!discarding) return;
    forget();
    if (!discarding.href) location.reload();
  });
  addEventListener('beforeunload', event => {
    if (form.hasAttribute('data-dirty') && !leaving) event.returnValue = true;
  });

  // After a log-in, a reload, or a restart of the service.
  if (document.querySelector('.done:not([hidden])')) sessionStorage.removeItem(KEY);
  else if (kept?.at === at && !form.hasAttribute('data-dirty')) {
    restored = true;
    form.dataset.dirty = 'true';
    send(null, new URLSearchParams(kept.body));
  }
}
