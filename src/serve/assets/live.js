/* A run that is under way: its new points, what it prints, how it stands. Texts go into the page as text. */
(function () {
  'use strict';

  var now = document.getElementById('now'), output = document.getElementById('console'), source = null, last;

  if (output) output.scrollTop = output.scrollHeight;
  if (!now) return; /* the run is over */
  last = now.dataset.seen;

  function tell(data) {
    now.textContent = '';
    [data.status, data.step, data.loss, data.took].forEach(function (text) {
      if (text) now.appendChild(document.createElement('span')).textContent = text;
    });
  }

  function points(data) {
    document.querySelectorAll('figure[data-curves]').forEach(function (figure) {
      figure.dispatchEvent(new CustomEvent('lx-points', { detail: data }));
    });
  }

  /* What is shown stays short: the whole is one link away. */
  function print(text) {
    var follows = output.scrollTop + output.clientHeight > output.scrollHeight - 24, all = output.textContent;
    if (text[0] === '\r') { /* a progress bar is drawn again over its line */
      all = all.slice(0, all.lastIndexOf('\n') + 1);
      text = text.slice(1);
    }
    output.textContent = (all + text).slice(-65536);
    document.getElementById('printed').hidden = false;
    if (follows) output.scrollTop = output.scrollHeight;
  }

  function follow() {
    if (source || document.hidden) return;
    source = new EventSource(now.dataset.live + '?seen=' + encodeURIComponent(last));
    source.addEventListener('state', function (event) { last = event.lastEventId || last; now.classList.remove('away'); tell(JSON.parse(event.data)); });
    source.addEventListener('points', function (event) { last = event.lastEventId || last; points(JSON.parse(event.data)); });
    source.addEventListener('console', function (event) { last = event.lastEventId || last; if (output) print(JSON.parse(event.data)); });
    /* Another curve has begun, or the run has ended: the page has more to tell than is followed here. */
    source.addEventListener('reload', function () { rest(); location.reload(); });
    source.addEventListener('error', function () { now.classList.add('away'); });
  }
  function rest() {
    if (source) source.close();
    source = null;
  }

  document.addEventListener('visibilitychange', function () { if (document.hidden) rest(); else follow(); });
  addEventListener('pagehide', rest);
  addEventListener('pageshow', follow);
  follow();
})();
