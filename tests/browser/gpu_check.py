"""script/gpu-check --emulated: every part runs, its JSON has the numbers, its page shows them, fetches nothing, and no text in it acts."""
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import unittest

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

BUILD = os.path.dirname(os.environ["LX"])
SCRIPT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../script/gpu-check")
EVIL = "\"'</td></style><script>alert(1)</script><img src=x onerror=alert(2)>"


class GpuCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.access(os.path.join(BUILD, "tests/cuda_emulation/lx_bench_step"), os.X_OK):
            raise unittest.SkipTest("the emulated GPU is not built")
        environment = dict(os.environ, OMP_NUM_THREADS="1", LX_NVML=os.path.join(BUILD, "tests/libfake_nvml.so"))
        done = subprocess.run([SCRIPT, "--emulated", "--build", BUILD, "--out", "out"], env=environment, stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stdout
        with open("out/gpu-check.json") as file:
            cls.found = json.load(file)
        options = Options()
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1400"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "browser"):
            cls.browser.quit()

    def open(self, path, shot):
        self.browser.get("file://" + os.path.realpath(path))
        if os.environ.get("LX_SHOTS"):
            self.browser.save_screenshot(os.path.join(os.environ["LX_SHOTS"], shot))
        self.assertEqual([entry["message"] for entry in self.browser.get_log("browser")], [])
        return self.browser.find_element(By.TAG_NAME, "body").text

    def test_numbers(self):
        for precision in ("no", "bf16", "fp16"):
            part = self.found["training"][precision]
            self.assertTrue(part["ok"])
            self.assertEqual(part["steps"], 2)
            self.assertGreater(part["iterations_per_second"], 0)
            self.assertGreater(part["planned_bytes"], 0)
            self.assertIsNotNone(part["measured_bytes"])
        self.assertTrue(all(test["status"] == "passed" for test in self.found["goldens"]["tests"]))
        self.assertEqual(self.found["selftest"]["failed"], 0)
        self.assertIn("linear", [row["op"] for row in self.found["profile"]["bf16"]["ops"]])

    def test_page(self):
        text = self.open("out/gpu-check.html", "gpu-check.png")
        for wanted in ("training in bf16", "it/s", "A step in bf16, by operation", "cuda_emulation/emulated/move", "geglu_dx"):
            self.assertIn(wanted, text)
        self.assertNotIn("failed", text)

    def test_texts_do_not_act(self):
        loader = importlib.machinery.SourceFileLoader("gpu_check", SCRIPT)
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_check", loader))
        loader.exec_module(module)
        found = json.loads(json.dumps(self.found))
        found["machine"]["nvidia_smi"] = found["selftest"]["description"] = EVIL
        found["training"]["no"].update(ok=False, why=EVIL)
        found["goldens"]["tests"][0].update(status="failed", why=EVIL, name=EVIL)
        with open("evil.html", "w") as file:
            file.write(module.write_page(found))
        text = self.open("evil.html", "gpu-check-evil.png")
        self.assertIn("<img src=x onerror=alert(2)>", text)
        self.assertIn("failed", text)


if __name__ == "__main__":
    unittest.main()
