"""Texts that strangers chose, in every place where a page shows one, in a real browser: none of them acts.

Each text of TEXTS is the name, group, tag, note, setting, message, caption, file, curve, console and command line of runs
of its own. Every page of lx serve that has them is opened, and the pages that lx writes as files. Nothing may run (alert, a
forbidden script or style), nothing may ask another host than this server, no element, attribute or address may come
of a text, no text may turn the direction of a line; the server takes nothing but GET and HEAD and only under its names.
"""
import json
import os
import socket
import struct
import subprocess
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

LX, MAKE_RUN, GOLDENS = (os.environ[name] for name in ("LX", "MAKE_RUN", "LX_GOLDENS"))
DATA = os.path.join(GOLDENS, "e2e/data/train")
# Whatever of these becomes an element is an x-evil or has an attribute data-evil, or calls alert, or asks evil.example.
TEXTS = [
    "<script>alert(1)</script><x-evil>",
    "</title></textarea></style></noscript></xmp></script><x-evil><script>alert(1)</script>",
    "--><!--><x-evil><!--<script>alert(1)//-->",
    "]]><x-evil><![CDATA[<script>alert(1)</script>]]>",
    "\" onmouseover=alert(1) onfocus=alert(1) autofocus data-evil=\"",
    "' onmouseover=alert(1) onfocus=alert(1) autofocus data-evil='",
    "` onerror=alert(1) data-evil=` x",
    " onerror=alert(1) data-evil ",
    "\"><img src=https://evil.example/a.png onerror=alert(1) data-evil>",
    "'><svg onload=alert(1) data-evil><x-evil>",
    "<img src=x onerror=\"alert(1)\" data-evil>",
    "<image href=//evil.example/b onerror=alert(1) data-evil>",
    "<svg><animate onbegin=alert(1) attributeName=x data-evil></svg>",
    "<svg><foreignObject><x-evil></foreignObject><use href=//evil.example/c.svg#x>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1) data-evil&gt;\">",
    "<iframe srcdoc='<script>parent.alert(1)</script>' data-evil></iframe>",
    "<iframe src=javascript:alert(1) data-evil></iframe><object data=javascript:alert(1) data-evil>",
    "<link rel=stylesheet href=//evil.example/d.css data-evil>",
    "<link rel=prefetch href=//evil.example/e data-evil><link rel=dns-prefetch href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/f' data-evil>",
    "<base href=https://evil.example/ data-evil>",
    "<form action=https://evil.example/g data-evil><input autofocus onfocus=alert(1)><button>",
    "<details open ontoggle=alert(1) data-evil><video src=//evil.example/h onerror=alert(1)>",
    "<template shadowrootmode=open><x-evil></template><dialog open data-evil>",
    "}</style><style>*{background:url(//evil.example/i)}@import url(//evil.example/j.css)</style><x-evil>",
    "expression(alert(1));background:url(//evil.example/k);position:fixed;inset:0",
    "javascript:alert(1)",
    "JaVaScRiPt&colon;alert(1)",
    "\tjava\nscript:alert(1)//",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/l",
    "https://evil.example/m?<x-evil>",
    "/\\evil.example/n",
    "../../api/runs?q=<x-evil>#<x-evil>",
    "%3Cx-evil%3E%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;x-evil&gt;&#60;x-evil&#62;&#x3c;script&#x3e;alert(1)&#x3c;/script&#x3e;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e\\x3cx-evil\\x3e",
    "';alert(1);//\";alert(1);//\\';alert(1);//\\\";alert(1);//</script><x-evil>",
    "\u2028alert(1)\u2029//\u0085alert(1)",
    "{{constructor.constructor('alert(1)')()}}${alert(1)}<%= alert(1) %>#{alert(1)}",
    "__proto__",
    "constructor",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "\u202egnp.exe\u202c\u2066<x-evil>\u2069\u200b\u200e\u200f\u061c\ufeff",
    "\x1b[31m\x1b]0;x\x07\u009b31m\u0090q\u009c\x08\x7f<x-evil>",
    "a\r\nSet-Cookie: evil=1\r\n\r\n<x-evil>",
    "\ufffe\uffff\U0010ffff\U000e0041\ud7ff<x-evil>",
    "a" + "\u0301\u0489\u20dd" * 400,
    "\u0bcc\u0bcc\u0e33" * 300 + "<x-evil>",
    "<b>" * 20000 + "<x-evil>",
    "x" * 100000,
    "=cmd|'/c calc'!A1<x-evil>",
    "<portal src=//evil.example/o data-evil><x-evil/onclick=alert(1)>",
    "<a href=\"javascript:alert(1)\" data-evil>x</a><area href=javascript:alert(1) data-evil>",
    "[x](javascript:alert(1)) ![x](https://evil.example/p.png) <https://evil.example/q>",
]
HIDDEN = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u200b\ufeff"

WATCH = """
window.acted = [];
window.alert = window.confirm = window.prompt = function (what) { window.acted.push('alert ' + what); };
document.addEventListener('securitypolicyviolation', function (e) {
  window.acted.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sourceFile + ':' + e.lineNumber); });
"""
# Elements and attributes that come of a text, addresses that lead elsewhere, characters that act.
SEEK = """
var found = [];
document.querySelectorAll('*').forEach(function (e) {
  if (e.localName === 'x-evil' || ['iframe', 'object', 'embed', 'base', 'portal', 'dialog', 'template', 'foreignobject'].includes(e.localName.toLowerCase()))
    found.push('element ' + e.localName);
  for (var a of e.attributes) {
    if (a.name === 'data-evil' || a.name.startsWith('on') || a.name === 'srcdoc' || a.name === 'autofocus' && arguments[1])
      found.push('attribute ' + a.name);
    if (['href', 'src', 'action', 'formaction', 'data', 'xlink:href', 'poster'].includes(a.name) && e.localName !== 'meta') {
      var to; try { to = new URL(a.value, document.baseURI); } catch (x) { found.push('address ' + a.value); continue; }
      if (to.origin !== location.origin && !(location.protocol === 'file:' && ['data:', 'file:', 'blob:'].includes(to.protocol)) &&
          to.protocol !== 'data:' || e.localName === 'a' && to.protocol === 'data:')
        found.push('address ' + a.value.slice(0, 80));
    }
  }
});
var text = document.documentElement.textContent, title = document.title;
for (var c of arguments[0]) if (document.body.innerText.includes(c) || title.includes(c)) found.push('character ' + c.charCodeAt(0).toString(16));
return found;
"""


def lx(*words, text=None, fails=False):
    done = subprocess.run([LX, *words], input=text, capture_output=True, text=True)
    assert fails or done.returncode == 0, (words[0], done.stderr[-500:])
    return done.stdout


def put_lora(path, text):
    """A LoRA whose metadata is the text wherever it may be."""
    layer = "lora_unet_mid_block_attentions_0_proj_in."
    metadata = {key: text for key in ("ss_output_name", "ss_sd_model_name", "ss_network_module", "ss_training_comment", "modelspec.title",
                                      "modelspec.author", "ss_optimizer", "modelspec.description")}
    metadata["ss_tag_frequency"] = json.dumps({text[:50]: {text: 3, "iwl": 5}})
    metadata["ss_dataset_dirs"] = json.dumps({text[:50]: {"n_repeats": 2, "img_count": 3}})
    metadata["ss_session_id"] = "1"
    metadata[text[:60]] = text
    head = {"__metadata__": metadata, layer + "lora_down.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
            layer + "lora_up.weight": {"dtype": "F32", "shape": [2, 1], "data_offsets": [8, 16]}}
    head = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + struct.pack("<4f", 1, 2, 3, 4))


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        store = os.environ["LX_STORE"]
        os.mkdir("loras")
        for i, text in enumerate(TEXTS):
            if len(text) < 50000:
                put_lora(f"loras/{i}.safetensors", text)
                subprocess.run([MAKE_RUN, store, DATA, "x", "hostile", text], check=True, capture_output=True)
            line = " ".join(text.split())
            printed = "x\0y " + text + "\n" + text + "\rsteps: 1\r" + text + "\n"
            with open("printed", "w", encoding="utf-8", newline="") as f:
                f.write(printed)
            lx("run", "--name=" + text, "--", "sh", "-c", "cat printed; exit 3", text[:50000], fails=True)
            run = lx("log", "--new", f"text {i}", "--flag", f"k {line[:40].replace('=', '')}={text}", "--flag", f"comment={text}",
                     "--file", "printed", "--end", "failed", "--message=" + text, "loss=0.5").strip()
            lx("note", run, "--", text)
            lx("tag-run", run, f"+{line[:60].replace('=', '')}={text}", "--group=" + text, fails=True)
        lx("import", "loras", fails=True)
        cls.server = subprocess.Popen([LX, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.base = cls.server.stdout.readline().strip().rstrip("/")
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        cls.browser = webdriver.Chrome(service=Service("chromedriver"), options=options)
        cls.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        cls.server.terminate()
        assert cls.server.wait(10) == 0, "lx serve did not end well"

    def asked(self):
        """Addresses that the browser asked for since this was called last."""
        out = []
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                out.append(message["params"]["request"]["url"])
            elif message["method"] == "Page.frameRequestedNavigation":
                out.append(message["params"]["url"])
        return out

    def look(self, address, is_ours=lambda url: False):
        self.browser.get(address)
        self.browser.execute_script("""document.querySelectorAll('details').forEach(d => d.open = true);
            document.querySelectorAll('*').forEach(e => { e.dispatchEvent(new Event('mouseover')); });""")
        # Two frames and the scripts' first requests.
        self.browser.execute_async_script(
            "var done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)));")
        self.assertEqual(self.browser.execute_script("return window.acted"), [], address)
        self.assertEqual(self.browser.execute_script(SEEK, HIDDEN, False), [], address)
        self.assertTrue(self.browser.current_url.startswith(address.split("?")[0].split("#")[0]), address)
        self.assertEqual([url for url in self.asked() if not url.startswith((self.base, "data:", "blob:")) and url != address and not is_ours(url)],
                         [], address)
        self.assertEqual(self.browser.get_cookies(), [])

    def runs(self):
        return json.loads(lx("runs", "--all", "--json"))

    def test_what_acts_is_seen(self):
        """The same texts on a page that escapes nothing."""
        for i, text in enumerate(TEXTS[:6] + TEXTS[17:21]):
            with open(f"bad{i}.html", "w", encoding="utf-8") as f:
                f.write(f"<!doctype html><meta charset=utf-8><p title=\"{text}\" data-x='{text}'>{text}</p>")
            with self.assertRaises(Exception):
                self.look(f"file://{os.getcwd()}/bad{i}.html")
            self.browser.get("about:blank")
            self.asked()

    def test_every_page_of_every_run(self):
        runs = self.runs()
        self.assertGreater(len(runs), 2 * len(TEXTS))
        for first in range(0, len(runs), 100):
            for columns in ("", "&columns=name,tags,notes,group,message,comment,kind,origin,parent"):
                self.look(f"{self.base}/?first={first}{columns}")
        for run in runs:
            self.look(f"{self.base}/run/{run['id']}")
        for run in runs[::7]:
            self.look(f"{self.base}/run/{run['id']}/samples")
        for run in runs[::9]:
            self.look(f"{self.base}/run/{run['id']}/console")
        for first in range(0, len(runs) - 4, 4):
            self.look(f"{self.base}/compare?" + "&".join("run=" + r["id"] for r in runs[first:first + 4]))

    def test_texts_in_the_address(self):
        from urllib.parse import quote
        often = ["/?q={}", "/run/{}"]
        seldom = ["/?columns={}", "/compare?run={}&run=x", "/?q=name+~+1&sort={}", "/?first={}", "/run/x/{}", "/{}", "/?{}=1", "/#{}"]
        for i, text in enumerate(t for t in TEXTS if len(t) < 1000):
            for path in often + [seldom[i % 8]]:
                self.look(self.base + path.format(quote(text, safe="")))

    def test_pages_that_are_files(self):
        ids = [run["id"] for run in self.runs()]
        here = "file://" + os.getcwd()
        lx("report", *ids[:8], "-o", "report.html", fails=True)
        made = ["report.html"] if os.path.exists("report.html") else []
        for i in range(0, len(ids), 8):
            lx("report", ids[i], "-o", f"r{i}.html")
            lx("compare", *ids[i:i + 3], "-o", f"c{i}.html", fails=True)
            made += [name for name in (f"r{i}.html", f"c{i}.html") if os.path.exists(name)]
        lx("inspect", "loras", "--html", "all.html")
        made.append("all.html")
        self.assertGreater(len(made), len(ids) / 5)
        for name in made:
            self.look(f"{here}/{name}")

    def test_json_is_json_and_no_page(self):
        import urllib.request
        for path in ["/api/runs?first=0"] + [f"/api/run/{run['id']}" for run in self.runs()[::7]]:
            with urllib.request.urlopen(self.base + path) as answer:
                self.assertEqual(answer.headers["Content-Type"], "application/json")
                self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
                json.loads(answer.read())

    def test_rebinding(self):
        """A page of another name that has come to lead to this machine: its requests carry that name."""
        port = int(self.base.rsplit(":", 1)[1])
        for host in ("evil.example", f"evil.example:{port}", f"localhost.evil.example:{port}", f"127.0.0.1.evil.example:{port}", "localhost",
                     f"localhost:{port + 1}", f"0.0.0.0:{port}", f"[::ffff:127.0.0.1]:{port}", f"2130706433:{port}", f"127.1:{port}",
                     f"localhost:{port}@evil.example", f"evil.example#localhost:{port}", f"localhost.:{port}", ""):
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(f"GET /api/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                status = s.makefile("rb").readline().split()[1]
            self.assertEqual(status, b"421", host)
        # The browser itself, told that the name lives here.
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP evil.example 127.0.0.1"):
            options.add_argument(word)
        other = webdriver.Chrome(service=Service("chromedriver"), options=options)
        try:
            other.get(f"http://evil.example:{port}/")
            self.assertIn("not under this name", other.page_source)
            got = other.execute_async_script("""var done = arguments[0];
                fetch('/api/runs').then(r => r.text()).then(t => done(t), e => done('refused'));""")
            self.assertIn("not under this name", got)
            for method in ("GET", "POST", "PUT", "DELETE"):
                got = other.execute_async_script("""var done = arguments[2];
                    fetch(arguments[0], {method: arguments[1]}).then(r => r.text()).then(t => done('read ' + t.length), e => done('refused'));""",
                    f"http://127.0.0.1:{port}/api/runs", method)
                self.assertEqual(got, "refused", method)
        finally:
            other.quit()

    def test_nothing_is_changed_by_asking(self):
        before = lx("sql", "SELECT count(*) FROM runs") + lx("runs", "--all", "--json")
        port = int(self.base.rsplit(":", 1)[1])
        run = self.runs()[0]["id"]
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "MKCOL", "PROPFIND"):
            for path in ("/", f"/run/{run}", f"/api/run/{run}", "/api/runs"):
                with socket.create_connection(("127.0.0.1", port)) as s:
                    s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
                    self.assertEqual(s.makefile("rb").readline().split()[1], b"405", (method, path))
        self.assertEqual(lx("sql", "SELECT count(*) FROM runs") + lx("runs", "--all", "--json"), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)
