"""The web chat in headless Chromium, driven through chromedriver (W3C WebDriver).

    browser.py ADDRESS SCREENSHOT

Prints one JSON object: what a person would have seen.
"""

import base64
import faulthandler
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

address, picture = sys.argv[1:]
# Whatever hangs says where, and ends.
faulthandler.dump_traceback_later(180, exit=True)
NAME = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's key of an element


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            if "successfully on port" in line:
                self.base = f"http://127.0.0.1:{line.rstrip().rstrip('.').split()[-1]}"
                break
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--window-size=900,900"]
        capabilities = {"alwaysMatch": {"goog:chromeOptions": {"args": arguments},
                                        "goog:loggingPrefs": {"browser": "ALL"}}}
        session = self.call("POST", "/session", {"capabilities": capabilities})
        self.base += f"/session/{session['sessionId']}"

    def call(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.read().decode()[:500]}")

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[NAME]

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, script, *arguments, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(script, *arguments):
                return True
            time.sleep(0.05)
        return False

    def say(self, text):
        # Typed, as a person does; Enter sends.
        self.call("POST", f"/element/{self.find('#text')}/value", {"text": text + "\ue007"})

    def answers(self):
        return self.run(
            "return [...document.querySelectorAll('li.m.agent:not(.live)')].map(e => e.querySelector(':scope > div').innerText)")

    def answered(self, count):
        return self.wait(
            "return document.querySelectorAll('li.m.agent:not(.live)').length >= arguments[0]", count)

    def close(self):
        self.call("DELETE", "")
        # The session is over; a parent that ignores SIGTERM has left that to it.
        self.driver.kill()
        self.driver.wait()


browser = Browser()
seen = {}
try:
    browser.call("POST", "/url", {"url": address})
    seen["connected"] = browser.wait("return document.querySelector('#state').textContent === 'connected'")
    # Every skill that the page shows while it runs.
    browser.run("""window.chips = []; new MutationObserver(() => {
        for (const chip of document.querySelectorAll('.skills li')) window.chips.push(chip.innerText);
    }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});""")
    for number, text in enumerate(["/remember tea <img src=x onerror='window.hacked=1'>", "/recall tea",
                                   "/calculator 6*7", "/todo add Water the plants"], 1):
        browser.say(text)
        seen[f"answered {number}"] = browser.answered(number)
    seen["answers"] = browser.answers()
    seen["chips"] = sorted(set(browser.run("return window.chips")))
    with open(picture, "wb") as file:
        file.write(base64.b64decode(browser.call("GET", "/screenshot")))
    seen["hacked"] = browser.run("return window.hacked === 1 || document.querySelector('li.m img') !== null")
    browser.call("POST", "/refresh")
    browser.answered(4)
    seen["after reload"] = browser.answers()
    seen["errors"] = [entry["message"] for entry in browser.call("POST", "/se/log", {"type": "browser"})
                      if entry["level"] == "SEVERE"]
finally:
    browser.close()
print(json.dumps(seen))
