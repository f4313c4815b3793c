# More points than a page holds: the smoothing slider keeps each value at its step.
command -v node >/dev/null || { echo "skip: no node, which moves the slider" >&2; exit 77; }
awk 'BEGIN { for (i = 1; i <= 40000; i++) printf "step=%d loss=%.6f\n", i, i / 40000 + (i * 7919 % 1000) / 10000 }' |
    "$LX" log --new long --flag dim=4 - >/dev/null || exit
"$LX" report long -q -o long.html || exit
cat >move.js <<'END'
/* As little of a browser as curves.js asks for. */
const fs = require('fs'), page = fs.readFileSync('long.html', 'utf8');
let drawn, slider;
function element() {
  const e = { style: {}, classList: { add() {}, remove() {} }, dataset: {}, on: {},
    appendChild(c) { return c; }, insertBefore() {}, querySelector() { return null; },
    getAttribute() { return e.id; }, addEventListener(name, f) { e.on[name] = f; } };
  return e;
}
const figures = [...page.matchAll(/data-curves="([^"]*)"/g)].map(m => Object.assign(element(), { id: m[1] }));
global.document = {
  documentElement: {}, querySelectorAll: () => figures.slice(0, 1), createTextNode: () => ({}),
  createElement(tag) { const e = element(); if (tag === 'input' && !slider) slider = e; return e; },
  getElementById: id => ({ textContent: page.match(new RegExp(`id="${id}">([^<]*)<`))[1] })
};
global.getComputedStyle = () => ({ getPropertyValue: () => '#000000' });
global.matchMedia = () => ({ addEventListener() {} });
global.addEventListener = () => {};
global.Dygraph = class {
  constructor(area, rows) { drawn = rows; }
  updateOptions(o) { drawn = o.file || drawn; }
  setVisibility() {}
};
Dygraph.PLUGINS = [];
Dygraph.Plugins = {};
eval(fs.readFileSync(process.env.SOURCE + '/src/report/assets/curves.js', 'utf8'));
function worst(weight) { /* the smoothed line lies on the rising one but for its lag */
  const lag = 1 / (1 - weight) / 40000;
  return Math.max(...drawn.filter(r => r[2] !== null && r[0] > 10000).map(r => Math.abs(r[2] - (r[0] / 40000 - lag + 0.05))));
}
console.log('at first', worst(0.995) < 0.01 ? 'where it should be' : worst(0.995));
for (slider.value of [0.99, 0.995]) {
  slider.on.input();
  console.log('moved to', slider.value, worst(slider.value) < 0.01 ? 'where it should be' : worst(slider.value));
}
END
node move.js
