/* Makes the static curves of a page interactive: values under the pointer, zoom by dragging, smoothing,
 * a logarithmic axis. Without this script the static ones stay. */
(function () {
  'use strict';

  function css(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function element(parent, tag, className) {
    var e = document.createElement(tag);
    if (className) e.className = className;
    parent.appendChild(e);
    return e;
  }

  /* Exponential mean with its start corrected, as src/stats/smooth.c computes it. Of a line of `all` points only
   * some came: each then stands for those since the one before, whose mean came with it. */
  function smooth(line, weight) {
    var mean = 0, share = 0, x = line.x, each = line.all ? (x[x.length - 1] - x[0]) / (line.all - 1) : 0;
    return (line.means || line.y).map(function (v, k) {
      var kept = each && k ? Math.pow(weight, (x[k] - x[k - 1]) / each) : weight;
      if (v !== null && isFinite(v)) {
        mean = kept * mean + (1 - kept) * v;
        share = kept * share + (1 - kept);
      }
      return share ? mean / share : null;
    });
  }

  /* What a smoothed line is made of has the steps, too: the two may have been thinned apart. */
  function resmooth(lines, weight) {
    lines.forEach(function (l) {
      if (l.of < 0) return;
      l.x = lines[l.of].x;
      l.y = smooth(lines[l.of], weight);
    });
  }

  /* Steps that rise evenly come as {first, by, n}; a smoothed line may come without its points. */
  function unpack(data) {
    data.lines.forEach(function (l) {
      if (l.x && l.x.n) {
        var even = l.x;
        l.x = [];
        for (var k = 0; k < even.n; k++) l.x.push(even.first + k * even.by);
      }
    });
    data.lines.forEach(function (l) {
      if (!l.y) {
        l.x = data.lines[l.of].x;
        l.y = smooth(data.lines[l.of], data.smoothing);
      }
    });
    return data;
  }

  /* One row a step of any line; null where a line has none. */
  function rows(lines) {
    var at = new Map(), all = [];
    lines.forEach(function (line, i) {
      line.x.forEach(function (x, k) {
        if (!at.has(x)) {
          var row = [x];
          for (var n = 0; n < lines.length; n++) row.push(null);
          at.set(x, row);
          all.push(row);
        }
        at.get(x)[i + 1] = line.y[k];
      });
    });
    return all.sort(function (a, b) { return a[0] - b[0]; });
  }

  function number(v) {
    var size = Math.abs(v);
    return size && (size < 1e-3 || size >= 1e6) ? (+v.toPrecision(4)).toExponential() : String(+v.toPrecision(5));
  }

  function show(figure, data) {
    var plot = element(figure, 'div', 'plot'), values = element(plot, 'div', 'values');
    var area = element(plot, 'div', 'area'), bar = element(plot, 'div', 'bar'), graph;
    var lines = data.lines, slider, isSmoothed = lines.some(function (l) { return l.of >= 0; });
    var hint = 'drag to zoom, double-click to see all';

    figure.insertBefore(plot, figure.querySelector('figcaption'));
    figure.classList.add('live');
    values.textContent = hint;

    function names() { return ['step'].concat(lines.map(function (l, i) { return l.label + '\u200b'.repeat(i); })); }
    function colors() { return lines.map(function (l) { return css('--lx-' + l.color); }); }
    function series() {
      var out = {};
      names().slice(1).forEach(function (name, i) {
        out[name] = lines[i].faint ? { strokeWidth: 1, highlightCircleSize: 0 } : { strokeWidth: 1.8, highlightCircleSize: 3 };
      });
      return out;
    }
    /* Strokes add up where many lie on one pixel: the more points, the paler each. */
    var most = Math.max.apply(null, lines.map(function (l) { return l.x.length; }));
    var pale = Math.max(0.06, Math.min(0.3, 0.3 * Math.pow(1200 / most, 0.75))).toFixed(3);
    function faded(color, faint) {
      var m = /^#(..)(..)(..)$/.exec(color);
      return faint && m ? 'rgba(' + [1, 2, 3].map(function (i) { return parseInt(m[i], 16); }).join(',') + ',' + pale + ')' : color;
    }
    function look() {
      return {
        colors: colors().map(function (c, i) { return faded(c, lines[i].faint); }),
        axisLineColor: css('--lx-rule'), gridLineColor: css('--lx-rule')
      };
    }
    function tell(event, x, points) {
      values.textContent = '';
      element(values, 'span').textContent = (data.x_label || 'x') + ' ' + x.toLocaleString('en') + '   ';
      points.forEach(function (p) {
        var i = graph.indexFromSetName(p.name) - 1, b;
        if (lines[i].faint && isSmoothed && lines.length > 2) return;
        b = element(values, 'b');
        b.style.color = css('--lx-' + lines[i].color);
        b.textContent = lines[i].label + ' ' + number(p.yval) + '   ';
      });
    }
    function marks(canvas, box, g) {
      canvas.save();
      canvas.strokeStyle = css('--lx-ink');
      canvas.fillStyle = css('--lx-ink');
      canvas.globalAlpha = 0.5;
      canvas.setLineDash([2, 3]);
      canvas.font = '11px system-ui, sans-serif';
      canvas.textAlign = 'center';
      var free = -1e9;
      (data.marks || []).forEach(function (m) {
        var x = g.toDomXCoord(m.x), width;
        if (x < box.x || x > box.x + box.w) return;
        canvas.beginPath();
        canvas.moveTo(x, box.y + 14);
        canvas.lineTo(x, box.y + box.h);
        canvas.stroke();
        width = canvas.measureText(m.label || '').width / 2;
        if (m.label && x - width > free) {
          canvas.fillText(m.label, Math.min(Math.max(x, box.x + width), box.x + box.w - width), box.y + 10);
          free = x + width + 6;
        }
      });
      canvas.restore();
    }

    graph = new Dygraph(area, rows(lines), Object.assign({
      labels: names(), series: series(), connectSeparatedPoints: true, legend: 'never',
      axes: {
        x: { drawGrid: false, axisLabelFormatter: function (v) { return v.toLocaleString('en'); } },
        y: { axisLabelWidth: 56, axisLabelFormatter: number }
      },
      gridLineWidth: 1, logscale: !!data.log, labelsKMB: false, includeZero: false, xRangePad: 4, yRangePad: 8,
      highlightCallback: tell, unhighlightCallback: function () { values.textContent = hint; },
      underlayCallback: marks, hideOverlayOnMouseOut: true, animatedZooms: false
    }, look()));

    if (isSmoothed) {
      var label = element(bar, 'label');
      label.appendChild(document.createTextNode('smoothing'));
      slider = element(label, 'input');
      slider.type = 'range';
      slider.min = 0; slider.max = 0.995; slider.step = 0.005;
      slider.value = data.smoothing;
      slider.addEventListener('input', function () {
        resmooth(lines, +slider.value);
        graph.updateOptions({ file: rows(lines) });
      });
    }
    if (data.positive) {
      var log = element(bar, 'label'), box = element(log, 'input');
      log.appendChild(document.createTextNode('logarithmic'));
      box.type = 'checkbox';
      box.checked = !!data.log;
      box.addEventListener('change', function () { graph.updateOptions({ logscale: box.checked }); });
    }
    if (lines.filter(function (l) { return !l.faint; }).length > 1)
      lines.forEach(function (l, i) {
        if (l.faint) return;
        var pick = element(bar, 'label'), on = element(pick, 'input'), name = element(pick, 'span');
        on.type = 'checkbox';
        on.checked = true;
        name.textContent = l.label;
        name.style.color = css('--lx-' + l.color);
        on.addEventListener('change', function () {
          graph.setVisibility(i, on.checked);
          if (l.of >= 0) graph.setVisibility(l.of, on.checked);
        });
      });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', function () { graph.updateOptions(look()); });

    /* A page that is live sends what is new: {key: {x: [...], y: [...]}}. */
    figure.addEventListener('lx-points', function (event) {
      var grown = lines.filter(function (l) {
        var more = l.key !== undefined && Object.prototype.hasOwnProperty.call(event.detail, l.key) && event.detail[l.key];
        if (more) { l.x = l.x.concat(more.x); l.y = l.y.concat(more.y); }
        if (more && l.all) { l.all += more.x.length; l.means = l.means.concat(more.y); }
        return more;
      });
      if (!grown.length) return;
      resmooth(lines, slider ? +slider.value : data.smoothing);
      graph.updateOptions({ file: rows(lines) });
    });
  }

  /* Values are told above the chart; the legend of the library measures itself by a style that a strict policy
   * forbids. */
  Dygraph.PLUGINS = Dygraph.PLUGINS.filter(function (p) { return p !== Dygraph.Plugins.Legend; });

  document.querySelectorAll('figure[data-curves]').forEach(function (figure) {
    var source = document.getElementById(figure.getAttribute('data-curves'));
    try {
      show(figure, unpack(JSON.parse(source.textContent)));
    } catch (problem) {
      figure.classList.remove('live'); /* the static curve stays */
    }
  });
  addEventListener('beforeprint', function () {
    document.querySelectorAll('details').forEach(function (d) { d.open = true; });
  });
})();
