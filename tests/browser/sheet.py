"""lx data sheet as a person uses it: marks by keys and buttons, a list that is saved and moves the images; nothing a caption says acts.

Whatever the page does is watched, as in serve.py. LX_SHOTS=DIR keeps pictures of it.
"""
import os
import shutil
import subprocess
import time
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

LX, GOLDENS = os.environ["LX"], os.environ["LX_GOLDENS"]
PICTURES = os.path.join(GOLDENS, "data/images/in")
EVIL = "\"'</textarea></script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\u202egnp, {{7*7}}"

WATCH = """
window.acted = [];
window.alert = window.confirm = window.prompt = function (what) { window.acted.push('alert ' + what); };
document.addEventListener('securitypolicyviolation', function (e) { window.acted.push(e.violatedDirective + ' ' + e.blockedURI); });
window.addEventListener('error', function (e) { window.acted.push('error ' + e.message); }, true);
"""


class Sheet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(PICTURES):
            raise unittest.SkipTest("no " + PICTURES)
        cls.folder = os.path.join("img", "10_iwl 1girl")
        os.makedirs(cls.folder)
        names = sorted(n for n in os.listdir(PICTURES) if n.endswith((".png", ".jpg", ".webp")))
        for i, name in enumerate(names):
            shutil.copy(os.path.join(PICTURES, name), os.path.join(cls.folder, f"{i:02}" + os.path.splitext(name)[1]))
            with open(os.path.join(cls.folder, f"{i:02}.txt"), "w") as f:
                f.write(f"iwl, 1girl, number {i}, long hair, looking at viewer, white background\n")
        evil = os.path.join(cls.folder, "99 \u202e<b>\t'\".png")
        shutil.copy(os.path.join(PICTURES, "wide.png"), evil)
        with open(evil[:-4] + ".txt", "w") as f:
            f.write("iwl, " + EVIL + "\n")
        open(os.path.join(cls.folder, "98.png"), "w").close()
        cls.n = len(names) + 1
        subprocess.run([LX, "data", "sheet", "img", "-o", "sheet.html", "--caption_extension", ".txt",
                        "--resolution", "64", "--enable_bucket", "--min_bucket_reso", "64", "--max_bucket_reso", "128"], check=True, capture_output=True)
        options = Options()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": os.getcwd()})
        cls.browser = webdriver.Chrome(service=Service("chromedriver"), options=options)
        cls.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        cls.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": os.getcwd()})

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()

    def setUp(self):
        self.browser.get("file://" + os.path.abspath("sheet.html"))
        self.browser.execute_script("localStorage.clear()")
        self.browser.refresh()
        self.figures = self.browser.find_elements(By.CSS_SELECTOR, ".contact figure")

    def tearDown(self):
        self.assertEqual(self.browser.execute_script("return window.acted"), [])
        self.assertEqual([e["message"] for e in self.browser.get_log("browser") if e["level"] == "SEVERE"], [])

    def press(self, *keys):
        self.browser.switch_to.active_element.send_keys(*keys)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def marks(self):
        return [f.get_attribute("data-mark") for f in self.figures]

    def shown(self):
        return sum(f.is_displayed() for f in self.figures)

    def shot(self, name):
        if "LX_SHOTS" in os.environ:
            self.browser.save_screenshot(os.path.join(os.environ["LX_SHOTS"], name + ".png"))

    def test_keys_mark_and_go_on(self):
        self.assertEqual(len(self.figures), self.n)
        body = self.one("body")
        body.send_keys(Keys.ARROW_RIGHT)
        self.press("k", "x", "m", Keys.ARROW_RIGHT, "x", Keys.ARROW_LEFT, "u")
        self.assertEqual(self.marks()[:6], ["keep", "drop", "move", None, None, None])
        self.press(Keys.HOME, Keys.ARROW_DOWN)
        here = self.browser.switch_to.active_element
        self.assertEqual(here.rect["x"], self.figures[0].rect["x"])
        self.assertGreater(here.rect["y"], self.figures[0].rect["y"])
        self.press(Keys.ARROW_UP)
        self.assertEqual(self.browser.switch_to.active_element, self.figures[0])
        self.assertEqual(self.one(".bar .n").text, f"1 keep, 1 drop, 1 move of {self.n}")
        self.browser.refresh()
        self.figures = self.browser.find_elements(By.CSS_SELECTOR, ".contact figure")
        self.assertEqual(self.marks()[:4], ["keep", "drop", "move", None])
        self.shot("sheet")

    def test_buttons_filter_and_search(self):
        button = self.figures[2].find_element(By.CSS_SELECTOR, "[data-set=drop]")
        button.click()
        self.assertEqual(self.marks()[2], "drop")
        select = Select(self.one(".bar select"))
        select.select_by_value("drop")
        self.assertEqual(self.shown(), 1)
        select.select_by_value("flagged")
        self.assertGreater(self.shown(), 3)
        self.assertLess(self.shown(), self.n)
        select.select_by_value("all")
        self.one("[type=search]").send_keys("number 7,")
        self.assertEqual(self.shown(), 1)
        self.one("[type=search]").clear()
        self.one("[type=search]").send_keys("x")  # a letter there is no mark
        self.assertEqual(self.marks().count("drop"), 1)
        button = self.figures[2].find_element(By.CSS_SELECTOR, "[data-set=drop]")
        self.one("[type=search]").send_keys(Keys.BACKSPACE)
        button.click()
        self.assertEqual(self.marks()[2], None)

    def test_the_list_moves_what_it_says(self):
        self.one("body").send_keys(Keys.END)
        self.press("x")
        self.press(Keys.HOME)
        self.press("x", "k")
        self.browser.find_elements(By.CSS_SELECTOR, ".bar button")[0].click()
        for _ in range(100):
            if os.path.exists("marks.txt"):
                break
            time.sleep(0.1)
        with open("marks.txt") as f:
            text = f.read()
        self.assertEqual(text, self.one(".list textarea").get_attribute("value"))
        self.assertEqual(text.count("\n"), 4)
        self.assertTrue(text.startswith("# lx marks 1\ndrop\t10_iwl 1girl/00."), text)
        before = sorted(os.listdir(self.folder))
        subprocess.run([LX, "data", "move", "marks.txt", "--from", "img", "--to", "culled", "--write"], check=True, capture_output=True)
        self.assertEqual(len(os.listdir("culled")), 4)
        self.assertEqual(len(os.listdir(self.folder)), len(before) - 4)
        subprocess.run([LX, "data", "undo", "--write"], check=True, capture_output=True)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_by_night_and_on_a_phone(self):
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        self.one("body").send_keys(Keys.ARROW_RIGHT)
        self.press("x", "k")
        self.browser.find_elements(By.CSS_SELECTOR, ".flags summary")[0].click()
        self.shot("sheet-dark")
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True})
        self.assertLessEqual(self.browser.execute_script("return document.documentElement.scrollWidth"), 390)
        self.one(".contact").location_once_scrolled_into_view
        self.shot("sheet-phone")
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


if __name__ == "__main__":
    unittest.main()
