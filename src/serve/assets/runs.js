/* The table of runs while one types: filter, order, pages and choice without loading the page anew. Texts go into
 * the page as text, never as markup. */
(function () {
  'use strict';

  var ask = document.getElementById('ask'), found = document.getElementById('found');
  var head = document.querySelector('#runs thead'), body = document.querySelector('#runs tbody');
  var bar = document.getElementById('picked'), most = +bar.dataset.most, size = +body.dataset.size;
  var first = +body.dataset.first, sort = body.dataset.sort, picked = new Map(), under = null, timer = 0;

  function element(parent, tag, className, text) {
    var e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined && text !== null) e.textContent = text;
    parent.appendChild(e);
    return e;
  }

  /* ---- what is asked for ---- */

  function params(from, by) {
    var p = new URLSearchParams(), q = ask.elements.q.value.trim(), columns = ask.elements.columns.value.trim();
    if (q) p.set('q', q);
    if (columns) p.set('columns', columns);
    if (by) p.set('sort', by);
    if (from) p.set('first', from);
    return p;
  }

  function address(from, by) {
    var text = params(from, by).toString();
    return '/' + (text ? '?' + text : '');
  }

  function load(keeps_place) {
    if (under) under.abort();
    under = new AbortController();
    document.body.classList.add('busy');
    return fetch('/api/runs?' + params(keeps_place ? first : 0, sort), { signal: under.signal })
      .then(function (r) { return r.json().then(function (data) { return { ok: r.ok, data: data }; }); })
      .then(function (answer) {
        document.body.classList.remove('busy');
        if (!answer.ok) return complain(answer.data.error);
        first = answer.data.first;
        history.replaceState(null, '', address(first, sort));
        show(answer.data);
      })
      .catch(function (problem) {
        if (problem.name === 'AbortError') return;
        document.body.classList.remove('busy');
        complain('no answer: is lx serve still running?');
      });
  }

  function complain(text) {
    found.textContent = '';
    element(found, 'span', 'bad', text);
  }

  /* ---- what is shown ---- */

  function cell(row, column, text) {
    var td = element(row, 'td', column.number ? 'num' : '', text === null ? '' : undefined);
    if (text === null) return;
    if (column.field === 'status') element(td, 'span', 'badge ' + tone(text), text);
    else { td.textContent = text; if (text.length > 24) td.title = text; }
  }

  function tone(status) {
    return status === 'finished' ? 'good' : status === 'failed' ? 'bad' : 'warn';
  }

  function show_row(run, columns) {
    var row = element(body, 'tr'), pick = element(element(row, 'td', 'pick'), 'input'), name = element(row, 'td', 'name'), link;
    row.dataset.run = run.id;
    pick.type = 'checkbox';
    pick.name = 'run';
    pick.value = run.id;
    pick.checked = picked.has(run.id);
    pick.setAttribute('aria-label', 'compare ' + (run.name || run.id));
    row.classList.toggle('picked', pick.checked);
    link = element(name, 'a', '', run.name || run.id.slice(0, 10));
    link.href = '/run/' + run.id;
    if (run.name) { link.title = run.name; element(name, 'code', '', run.id.slice(0, 8)); }
    columns.forEach(function (column, i) { cell(row, column, run.cells[i]); });
  }

  function show_head(columns) {
    var row;
    head.textContent = '';
    row = element(head, 'tr');
    element(row, 'th', 'pick');
    [{ title: 'run', field: 'name' }].concat(columns).forEach(function (column) {
      var th = element(row, 'th', column.number ? 'num' : ''), link = element(th, 'a', '', column.title);
      var falls = sort === '-' + column.field, rises = sort === column.field;
      th.scope = 'col';
      if (falls || rises) {
        th.setAttribute('aria-sort', falls ? 'descending' : 'ascending');
        link.appendChild(document.createTextNode(falls ? ' \u2193' : ' \u2191'));
      }
      link.dataset.sort = rises ? '-' + column.field : falls ? '' : column.field;
      link.href = address(0, link.dataset.sort);
    });
  }

  function show_pages(data) {
    var pages = element(found, 'span', 'pages'), last = Math.min(first + data.rows.length, data.found);
    function page(text, from) {
      var link = element(pages, 'a', '', text);
      link.href = address(from, sort);
      link.dataset.first = from;
    }
    if (data.found <= size) return;
    if (first > 0) page('\u2190 earlier', Math.max(0, first - size));
    element(pages, 'span', '', (first + 1) + '\u2013' + last);
    if (last < data.found) page('more \u2192', first + size);
  }

  function show(data) {
    var at = document.activeElement, row = at && body.contains(at) ? at.closest('tr').dataset.run : null, tag = row && at.tagName;
    show_head(data.columns);
    body.textContent = '';
    data.rows.forEach(function (run) { show_row(run, data.columns); });
    if (row && (at = body.querySelector('tr[data-run="' + row + '"] ' + tag))) at.focus();
    found.textContent = '';
    element(found, 'span', '', data.found === data.all ? data.all + ' run' + (data.all === 1 ? '' : 's')
                                                       : data.found + ' of ' + data.all + ' runs');
    show_pages(data);
  }

  /* ---- what is chosen, across pages and filters ---- */

  function keep() {
    sessionStorage.setItem('lx-picked', JSON.stringify(Array.from(picked)));
    bar.hidden = !picked.size;
    bar.querySelector('.count').textContent = picked.size + ' chosen' + (picked.size > most ? ': at most ' + most + ' can be compared' : '');
    bar.querySelector('.main').disabled = picked.size < 2 || picked.size > most;
  }

  function restore() {
    try { picked = new Map(JSON.parse(sessionStorage.getItem('lx-picked') || '[]')); } catch (broken) { picked = new Map(); }
    body.querySelectorAll('input').forEach(function (box) {
      box.checked = picked.has(box.value);
      box.closest('tr').classList.toggle('picked', box.checked);
    });
    keep();
  }

  body.addEventListener('change', function (event) {
    if (event.target.name !== 'run') return;
    if (event.target.checked) picked.set(event.target.value, 1); else picked.delete(event.target.value);
    event.target.closest('tr').classList.toggle('picked', event.target.checked);
    keep();
  });
  bar.querySelector('.clear').addEventListener('click', function () {
    picked.clear();
    body.querySelectorAll('input').forEach(function (box) { box.checked = false; box.closest('tr').classList.remove('picked'); });
    keep();
  });
  document.getElementById('pick').addEventListener('submit', function (event) {
    var p = new URLSearchParams();
    event.preventDefault();
    picked.forEach(function (one, id) { p.append('run', id); });
    location.href = '/compare?' + p;
  });

  /* ---- asking ---- */

  function soon() {
    clearTimeout(timer);
    timer = setTimeout(load, 120);
  }
  ask.addEventListener('submit', function (event) { event.preventDefault(); clearTimeout(timer); load(); });
  ask.addEventListener('input', soon);
  document.addEventListener('click', function (event) {
    var link = event.target.closest('a');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (link.dataset.sort !== undefined) { sort = link.dataset.sort; event.preventDefault(); load(); }
    else if (link.dataset.first !== undefined) { first = +link.dataset.first; event.preventDefault(); load(true); scrollTo(0, 0); }
    else if (link.dataset.ask !== undefined) { ask.elements.q.value = link.dataset.ask; event.preventDefault(); load(); }
  });
  document.addEventListener('keydown', function (event) {
    if (event.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) { event.preventDefault(); ask.elements.q.focus(); }
  });
  addEventListener('pageshow', restore);
  restore();

  /* ---- runs that are written meanwhile ---- */

  var source = null, waits = 0;
  /* What someone selects, or has the pointer's menu on, is not taken from under his hands. */
  function is_read() {
    var s = getSelection();
    return s && !s.isCollapsed && body.contains(s.anchorNode);
  }
  function follow() {
    if (document.hidden || source) return;
    source = new EventSource('/api/changes');
    source.addEventListener('changed', function () {
      if (!waits) waits = setTimeout(function () { waits = 0; if (!is_read()) load(true); }, 1500);
    });
  }
  function rest() {
    if (source) source.close();
    source = null;
  }
  document.addEventListener('visibilitychange', function () { if (document.hidden) rest(); else { follow(); load(true); } });
  addEventListener('pagehide', rest);
  follow();
})();
