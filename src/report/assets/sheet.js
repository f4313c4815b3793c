/* Marks on a contact sheet, by keys or buttons: k keep, x drop, m move, u none; arrows go from picture to picture.
 * The marks stay in this browser, and leave it as a list of names for `lx data move`. Without this script the sheet
 * can be looked at. */
(function () {
  'use strict';
  var root = document.querySelector('.contact');
  if (!root) return;
  var all = Array.from(root.querySelectorAll('figure'));
  var bar = document.querySelector('.bar'), text = document.querySelector('.list textarea');
  var filter = bar.querySelector('select'), search = bar.querySelector('[type=search]'), size = bar.querySelector('[type=range]');
  var counts = bar.querySelector('.n'), buttons = bar.querySelectorAll('button');
  var key = 'lx-marks-' + root.getAttribute('data-id');
  var names = { k: 'keep', x: 'drop', m: 'move', u: '' };

  function store() { /* a page of a file may not keep anything */
    try { return window.localStorage; } catch (e) { return null; }
  }

  function mark(figure) { return figure.getAttribute('data-mark') || ''; }

  function list() {
    return '# lx marks 1\n' + all.filter(mark).map(function (f) {
      return mark(f) + '\t' + f.getAttribute('data-name') + '\n';
    }).join('');
  }

  function tell() {
    var n = { keep: 0, drop: 0, move: 0 };
    all.forEach(function (f) { if (mark(f)) n[mark(f)]++; });
    counts.textContent = n.keep + ' keep, ' + n.drop + ' drop, ' + n.move + ' move of ' + all.length;
    text.value = list();
    buttons.forEach(function (b) { b.disabled = !(n.keep + n.drop + n.move); });
  }

  function save() {
    var kept = {}, place = store();
    all.forEach(function (f) { if (mark(f)) kept[f.getAttribute('data-name')] = mark(f); });
    try { if (place) place.setItem(key, JSON.stringify(kept)); } catch (e) { /* full, or forbidden */ }
    tell();
  }

  function load() {
    var kept = {}, place = store();
    try { kept = JSON.parse((place && place.getItem(key)) || '{}') || {}; } catch (e) { kept = {}; }
    all.forEach(function (f) {
      var m = Object.prototype.hasOwnProperty.call(kept, f.getAttribute('data-name')) && kept[f.getAttribute('data-name')];
      if (m === 'keep' || m === 'drop' || m === 'move') f.setAttribute('data-mark', m);
    });
    tell();
  }

  function set(figure, m) {
    if (m) figure.setAttribute('data-mark', m); else figure.removeAttribute('data-mark');
    save();
  }

  function shown() { return all.filter(function (f) { return !f.hidden; }); }

  function choose() {
    var what = filter.value, words = search.value.toLowerCase();
    all.forEach(function (f) {
      var fits = what === 'all' || (what === 'flagged' ? f.querySelector('.warn, .bad') !== null :
        what === 'unmarked' ? !mark(f) : mark(f) === what);
      f.hidden = !fits || (words !== '' && f.textContent.toLowerCase().indexOf(words) < 0);
    });
  }

  function go(figure) {
    if (!figure) return;
    figure.focus();
    figure.scrollIntoView({ block: 'nearest' });
  }

  /* The picture above or below: the nearest to the same place in the next row. */
  function vertical(from, down) {
    var best = null, least = Infinity, x = from.offsetLeft, y = from.offsetTop;
    shown().forEach(function (f) {
      var dy = down ? f.offsetTop - y : y - f.offsetTop;
      var far = dy * 10 + Math.abs(f.offsetLeft - x);
      if (dy > 0 && far < least) { least = far; best = f; }
    });
    return best;
  }

  function onKey(e) {
    var in_field = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName), here = document.activeElement, left, at;
    if (e.ctrlKey || e.metaKey || e.altKey || in_field) return;
    left = shown();
    here = here && here.closest ? here.closest('.contact figure') : null;
    at = left.indexOf(here);
    if (Object.prototype.hasOwnProperty.call(names, e.key)) {
      if (!here) return;
      set(here, names[e.key]);
      if (at + 1 < left.length) go(left[at + 1]);
    } else if (e.key === 'ArrowRight') {
      go(left[at + 1] || here || left[0]);
    } else if (e.key === 'ArrowLeft') {
      go(at > 0 ? left[at - 1] : left[0]);
    } else if (e.key === 'ArrowDown') {
      go(here ? vertical(here, true) : left[0]);
    } else if (e.key === 'ArrowUp') {
      go(here && vertical(here, false));
    } else if (e.key === 'Home') {
      go(left[0]);
    } else if (e.key === 'End') {
      go(left[left.length - 1]);
    } else {
      return;
    }
    e.preventDefault();
  }

  function download() {
    var a = document.createElement('a');
    a.href = URL.createObjectURL(new Blob([list()], { type: 'text/plain' }));
    a.download = 'marks.txt';
    a.click();
    setTimeout(function () { URL.revokeObjectURL(a.href); }, 1000);
  }

  function copy() {
    text.closest('details').open = true;
    text.select();
    if (navigator.clipboard && navigator.clipboard.writeText)
      navigator.clipboard.writeText(list()).catch(function () { document.execCommand('copy'); });
    else
      document.execCommand('copy');
  }

  function clear() {
    all.forEach(function (f) { f.removeAttribute('data-mark'); });
    save();
    choose();
  }

  document.addEventListener('keydown', onKey);
  root.addEventListener('click', function (e) {
    var button = e.target.closest('[data-set]'), figure = e.target.closest('figure'), m;
    if (!figure) return;
    if (button) {
      m = button.getAttribute('data-set');
      set(figure, mark(figure) === m ? '' : m);
    }
    if (!e.target.closest('summary')) figure.focus({ preventScroll: true });
  });
  filter.addEventListener('change', choose);
  search.addEventListener('input', choose);
  size.addEventListener('input', function () { root.style.setProperty('--size', size.value + 'px'); });
  buttons[0].addEventListener('click', download);
  buttons[1].addEventListener('click', copy);
  buttons[2].addEventListener('click', clear);
  document.body.classList.add('live');
  load();
}());
