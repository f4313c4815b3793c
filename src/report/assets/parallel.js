/* Makes the parallel coordinates of a page interactive: a line under the pointer (or with the keyboard's
 * focus) is told and stands out, a click keeps it; dragging along an axis leaves only the lines that cross
 * there, a click on the axis takes that back. Without this script the static drawing stays. */
(function () {
  'use strict';

  function draw(parent, tag, attributes) {
    var e = document.createElementNS('http://www.w3.org/2000/svg', tag);
    Object.keys(attributes).forEach(function (name) { e.setAttribute(name, attributes[name]); });
    parent.appendChild(e);
    return e;
  }

  function show(figure, data) {
    var svg = figure.querySelector('svg'), runs = Array.from(svg.querySelectorAll('.lx-run'));
    var told = document.createElement('div'), kept = -1, ranges = data.axes.map(function () { return null; });
    var hint = 'point at a line; drag along an axis to filter';

    figure.insertBefore(told, figure.querySelector('figcaption'));
    told.className = 'values';
    svg.classList.add('lx-live');

    function words(i) {
      return data.axes.map(function (a) { return a.name + ' ' + (a.texts[i] === null ? '-' : a.texts[i]); }).join(', ');
    }
    function isLeft(i) {
      return ranges.every(function (r, k) {
        var y = data.axes[k].y[i];
        return !r || (y !== null && y >= r[0] - 0.05 && y <= r[1] + 0.05);
      });
    }
    function tell(i) {
      var left = runs.filter(function (run, k) { return isLeft(k); }).length, name;
      told.textContent = '';
      if (i < 0) {
        told.textContent = left < runs.length ? left + ' of ' + runs.length + ' runs; click an axis to let all through' : hint;
        return;
      }
      name = document.createElement('b');
      name.textContent = data.labels[i] + '   ';
      told.appendChild(name);
      told.appendChild(document.createTextNode(words(i)));
    }
    function pick(i) {
      runs.forEach(function (run, k) { run.classList.toggle('lx-on', k === i); });
      svg.classList.toggle('lx-picking', i >= 0);
      tell(i);
    }
    function filter() {
      runs.forEach(function (run, i) { run.classList.toggle('lx-out', !isLeft(i)); });
      if (kept >= 0 && !isLeft(kept)) kept = -1;
      pick(kept);
    }

    runs.forEach(function (run, i) {
      var line = run.querySelector('path');
      draw(run, 'path', { 'class': 'lx-hit', d: line.getAttribute('d') });
      run.setAttribute('tabindex', '0');
      run.setAttribute('role', 'img');
      run.setAttribute('aria-label', data.labels[i] + ': ' + words(i));
      run.addEventListener('pointerenter', function () { pick(i); });
      run.addEventListener('pointerleave', function () { pick(kept); });
      run.addEventListener('focus', function () { pick(i); });
      run.addEventListener('blur', function () { pick(kept); });
      run.addEventListener('click', function () {
        kept = kept === i ? -1 : i;
        pick(kept);
      });
    });

    data.axes.forEach(function (axis, k) {
      var brush = draw(svg, 'rect', { 'class': 'lx-brush', x: axis.x - 7, width: 14, y: 0, height: 0 });
      var handle = draw(svg, 'rect', {
        'class': 'lx-handle', x: axis.x - 9, width: 18, y: data.top - 8, height: data.bottom - data.top + 16
      });
      var from = null;

      function at(event) {
        var p = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        return Math.min(Math.max(p.y, data.top), data.bottom);
      }
      function set(range) {
        ranges[k] = range;
        brush.setAttribute('y', range ? range[0] : 0);
        brush.setAttribute('height', range ? range[1] - range[0] : 0);
        filter();
      }
      handle.addEventListener('pointerdown', function (event) {
        from = at(event);
        handle.setPointerCapture(event.pointerId);
      });
      handle.addEventListener('pointermove', function (event) {
        var to;
        if (from === null) return;
        to = at(event);
        if (Math.abs(to - from) >= 3) set([Math.min(from, to), Math.max(from, to)]);
      });
      handle.addEventListener('pointerup', function (event) {
        if (from !== null && Math.abs(at(event) - from) < 3) set(null);
        from = null;
      });
      handle.addEventListener('pointercancel', function () { from = null; });
    });
    tell(-1);
  }

  document.querySelectorAll('figure[data-parallel]').forEach(function (figure) {
    try {
      show(figure, JSON.parse(document.getElementById(figure.getAttribute('data-parallel')).textContent));
    } catch (problem) {
      /* the static drawing stays */
    }
  });
})();
