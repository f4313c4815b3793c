"""lx serve as a person meets it: filter, order, a run, a live curve, a comparison, and nothing of what strangers wrote acts.

Whatever a page does is watched: a call of alert, a script or style that the policy forbids, a request to anywhere else, an
error in the console fail the test that opened it. LX_SHOTS=DIR keeps pictures of the pages.
"""
import json
import os
import subprocess
import time
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

LX, MAKE_RUN, GOLDENS = (os.environ[name] for name in ("LX", "MAKE_RUN", "LX_GOLDENS"))
DATA = os.path.join(GOLDENS, "e2e/data/train")
EVIL = "\"'</td></script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202egnp.\n=1+1 {{7*7}} ${alert(3)}"

WATCH = """
window.acted = [];
window.alert = window.confirm = window.prompt = function (what) { window.acted.push('alert ' + what); };
document.addEventListener('securitypolicyviolation', function (e) {
  window.acted.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sourceFile + ':' + e.lineNumber); });
window.addEventListener('error', function (e) { window.acted.push('error ' + e.message); }, true);
"""


def lx(*words, text=None):
    return subprocess.run([LX, *words], input=text, capture_output=True, text=True, check=True).stdout


def record(name, losses, *flags):
    words = [word for flag in flags for word in ("--flag", flag)]
    lines = "".join(json.dumps({"step": i + 1, "loss": loss}) + "\n" for i, loss in enumerate(losses))
    return lx("log", "--new", name, *words, "-", text=lines).strip()


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        store = os.environ["LX_STORE"]
        for words in (["plain"], ["hostile", "hostile"]):
            subprocess.run([MAKE_RUN, store, DATA, *words], check=True, capture_output=True)
        for dim in (4, 8, 16, 32):
            record(f"dim-{dim}", [0.2 / dim + 0.1 / (i + 1) for i in range(60)], f"network_dim={dim}", "learning_rate=1e-4")
        evil = record(EVIL, [0.5, 0.4], f"network_dim={EVIL}", f"{EVIL[:40]}={EVIL}", f"training_comment={'<b>' * 40000}")
        lx("note", evil, EVIL)
        lx("tag-run", evil, f"+evil={EVIL}", "--group", EVIL)
        lx("run", "--name", "printed", "--", "sh", "-c", "for i in $(seq 400); do printf 'line %d\\n' $i; done; printf '\\033[31mred\\rsteps: 1\\rsteps: 2\\n<b>\\n'")
        cls.server = subprocess.Popen([LX, "serve", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        cls.base = cls.server.stdout.readline().strip().rstrip("/")
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(service=Service("chromedriver"), options=options)
        cls.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        cls.server.terminate()
        assert cls.server.wait(10) == 0, "lx serve did not end well"

    # ---- helpers

    def open(self, path):
        self.browser.get(self.base + path)

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def until(self, what, message):
        return WebDriverWait(self.browser, 20, 0.1).until(lambda _: what(), message)

    def names(self):
        return self.browser.execute_script("return Array.from(document.querySelectorAll('td.name a')).map(a => a.textContent)")

    def shot(self, name):
        if "LX_SHOTS" in os.environ:
            self.browser.save_screenshot(os.path.join(os.environ["LX_SHOTS"], name + ".png"))

    def tearDown(self):
        """Nothing acted, nothing was forbidden, nothing was fetched from elsewhere, nothing went wrong."""
        self.assertEqual(self.browser.execute_script("return window.acted"), [])
        others = self.browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith(location.origin))")
        self.assertEqual(others, [])
        wrong = [e["message"] for e in self.browser.get_log("browser") if e["level"] == "SEVERE" and "status of 400" not in e["message"]]
        self.assertEqual(wrong, [])

    # ---- the table

    def test_filter_follows_typing(self):
        self.open("/")
        self.assertEqual(len(self.all("#runs tbody tr")), 8)
        box = self.one("input[name=q]")
        box.send_keys("dim >= 16")
        self.until(lambda: self.names() == ["dim-32", "dim-16"], "the table follows the filter")
        self.assertIn("q=dim", self.browser.current_url)
        self.assertEqual(self.one("#found span").text, "2 of 8 runs")
        box.send_keys(" and")
        self.until(lambda: self.all("#found .bad"), "a query that is not whole is told")
        self.assertEqual(self.names(), ["dim-32", "dim-16"])
        self.browser.refresh()
        self.until(lambda: self.one("input[name=q]").get_attribute("value") == "dim >= 16", "the address keeps the filter")
        self.assertEqual(self.names(), ["dim-32", "dim-16"])

    def test_sort_by_column(self):
        self.open("/?q=name+~+dim-&columns=dim,loss")
        heading = lambda: next(a for a in self.all("#runs thead a") if a.text.startswith("loss"))
        heading().click()
        self.until(lambda: self.names() == ["dim-32", "dim-16", "dim-8", "dim-4"], "the least loss first")
        heading().click()
        self.until(lambda: self.names() == ["dim-4", "dim-8", "dim-16", "dim-32"], "the greatest loss first")
        self.assertEqual(self.one("#runs th[aria-sort]").get_attribute("aria-sort"), "descending")

    def test_choose_across_filters_and_compare(self):
        self.open("/?q=name+=+dim-4")
        self.one("td.pick input").click()
        box = self.one("input[name=q]")
        box.clear()
        box.send_keys("name = dim-32")
        self.until(lambda: self.names() == ["dim-32"], "the other run")
        self.one("td.pick input").click()
        self.assertEqual(self.one("#picked .count").text, "2 chosen")
        self.one("#picked .main").click()
        self.until(lambda: "/compare" in self.browser.current_url, "the comparison")
        self.assertEqual(self.one("h1").text, "Comparison")
        self.assertIn("dim-4", self.one("main").text)
        self.until(lambda: self.all("figure.live canvas"), "curves over each other")
        self.shot("compare")
        self.open("/")
        self.one("#picked .clear").click()

    def test_keys_and_no_scripts_needed(self):
        self.open("/")
        self.one("body").send_keys("/")
        self.assertEqual(self.browser.switch_to.active_element.get_attribute("name"), "q")
        self.browser.switch_to.active_element.send_keys("dim = 8", Keys.ENTER)
        self.until(lambda: self.names() == ["dim-8"], "return filters at once")
        self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            self.open("/")
            self.one("input[name=q]").send_keys("dim = 16", Keys.ENTER)
            self.until(lambda: "q=dim" in self.browser.current_url, "a form without scripts")
            self.assertEqual([a.text for a in self.all("td.name a")], ["dim-16"])
        finally:
            self.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        self.open("/")

    # ---- a run

    def test_run_page(self):
        self.open("/?q=name+=+plain")
        self.one("td.name a").click()
        self.until(lambda: self.all("h1"), "the page of the run")
        self.assertEqual(self.one("h1").text, "plain")
        self.until(lambda: len(self.all("figure.live canvas")) >= 2, "curves that can be zoomed")
        for heading in ("Curves", "Samples", "Data", "Settings", "How to repeat it"):
            self.assertIn(heading, [h.text for h in self.all("h2")])
        images = self.all(".sheet img")
        self.assertGreater(len(images), 5)
        self.browser.execute_script("arguments[0].scrollIntoView()", images[-1])
        self.until(lambda: self.browser.execute_script("return arguments[0].naturalWidth", images[-1]) > 0, "pictures come into view")
        self.assertIn("iwl", self.one(".sheet figcaption .clip").text)
        self.shot("run")
        next(a for a in self.all("a") if a.text == "All samples by prompt and step").click()
        self.until(lambda: self.all("table.grid img"), "the grid of samples")

    def test_console_of_a_run_that_is_over(self):
        self.open("/?q=name+=+printed")
        self.one("td.name a").click()
        self.until(lambda: self.all("#console"), "what it printed")
        lines = self.one("#console").text.splitlines()
        self.assertEqual(lines[-3:], ["line 400", "steps: 2", "<b>"])
        self.assertGreater(self.browser.execute_script("return arguments[0].scrollTop", self.one("#console")), 0)
        next(a for a in self.all("a") if a.text.startswith("all of it")).click()
        self.until(lambda: "line 1\n" in self.one("body").text, "the whole of it as a text")

    def test_live_curve(self):
        process = subprocess.Popen([LX, "log", "--new", "live", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        say = lambda step: (process.stdin.write(json.dumps({"step": step, "loss": 1 / step}) + "\n"), process.stdin.flush())
        for step in (1, 2, 3):
            say(step)
        self.until(lambda: "live" in lx("runs", "status = running and steps >= 3", "--columns", "name", "--csv"), "the run is there")
        self.open("/?q=status+=+running")
        self.one("td.name a").click()
        self.until(lambda: self.all("figure.live canvas"), "its curve")
        points = """var seen = 0; document.querySelector('figure[data-curves]').addEventListener('lx-points',
            e => { window.steps = (window.steps || []).concat(e.detail.loss.x); });"""
        self.browser.execute_script(points)
        for step in range(4, 9):
            say(step)
            time.sleep(0.2)
        self.until(lambda: self.browser.execute_script("return (window.steps || []).slice(-1)[0]") == 8, "new points arrive")
        self.until(lambda: "step 8" in self.one("#now").text, "and how it stands")
        self.shot("live")
        process.stdin.close()
        process.wait(20)
        self.until(lambda: self.all(".badge.good") and not self.all("#now"), "the end is shown without being asked for")

    def test_table_follows_the_store(self):
        self.open("/?q=name+=+later")
        self.assertEqual(self.names(), [])
        time.sleep(1)
        record("later", [0.1])
        self.until(lambda: self.names() == ["later"], "a run that was recorded meanwhile")
        lx("tag-run", "later", "--trash")

    # ---- comparisons

    def test_compare_many(self):
        ids = lx("runs", "name ~ dim-", "--columns", "id", "--csv").split()[1:]
        self.open("/compare?" + "&".join("run=" + i for i in ids))
        self.until(lambda: self.all("figure.live canvas"), "curves")
        self.assertTrue(self.all("figure.parallel svg"), "parallel coordinates")
        self.assertIn("dim", self.one("main").text)

    # ---- strangers

    def test_hostile_texts_are_inert(self):
        runs = json.loads(lx("runs", "--all", "--json"))
        evil = [r["id"] for r in runs if "script" in (r["name"] or "")]
        self.assertEqual(len(evil), 2)
        paths = ["/", "/?sort=name&columns=name,tags,notes,group,message,dim,training_comment",
                 "/?q=%3Cscript%3Ealert(1)%3C/script%3E", "/compare?" + "&".join("run=" + i for i in evil)]
        paths += [f"/run/{i}{below}" for i in evil for below in ("", "/samples", "/console")]
        for path in paths:
            with self.subTest(path=path):
                self.open(path)
                time.sleep(0.4)
                self.assertEqual(self.browser.execute_script("return window.acted"), [])
                self.assertEqual(self.all("td script, p script, img[onerror], b b"), [])
                self.assertNotIn("\u202e", self.browser.execute_script("return document.body.innerText"))
                self.assertFalse(self.browser.execute_script(
                    "return document.documentElement.scrollWidth > innerWidth + 1"), "the page goes sideways")
        self.shot("hostile")
        self.open("/?q=loss+%3C+1") # rows made by the script, not by the server
        self.one("input[name=q]").send_keys(" or loss > 0")
        self.until(lambda: "or" in self.browser.current_url, "rows are made anew")
        self.until(lambda: any("<script>" in n for n in self.names()), "they are shown as texts")

    def test_other_sites_cannot_read(self):
        self.open("/")
        for other in ("data:text/html,x", "about:blank"):
            self.browser.get(other)
            outcome = self.browser.execute_async_script(
                "var done = arguments[1]; fetch(arguments[0]).then(r => r.text()).then(t => done('read ' + t.length), e => done('refused'));",
                self.base + "/api/runs")
            self.assertEqual(outcome, "refused")
        self.browser.get_log("browser")
        self.open("/")


if __name__ == "__main__":
    unittest.main(verbosity=2)
