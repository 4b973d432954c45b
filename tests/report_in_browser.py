#!/usr/bin/env python3
"""Whether a browser shows the report of `kshot report` as it is meant.

    python3 tests/report_in_browser.py [KSHOT] [PAGE.html ...]

KSHOT is the program (default target/release/kshot). Of a small suite of two settings and a regression, and of the pages that are
named, a headless Chromium must say: no message on the console, no request beside the page itself, nothing wider than the window at
1280 and 380 pixels, light and dark, closed and opened, and a name for everything that is looked at. Needs `chromium` or
`google-chrome` on the PATH, or $CHROMIUM; nothing else.
"""

import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SUITE = """
episodes = 12
queries = 4
[train]
steps = 12
validate-every = 4
validation-episodes = 4
[[experiment]]
learner = ["pixels", "prototypical", "maml"]
shots = [1, 2]
[experiment.set.backbone]
width = 4
[experiment.search.prototypical]
distance = ["squared", "cosine"]
[[experiment]]
data = "sinusoid"
learner = ["reptile", "maml"]
shots = 5
"""
NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
# What of an accessibility tree must have a name.
NAMED = {"image", "img", "figure", "region", "graphics-document", "link", "heading"}


def found():
    """The browser, or None."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A headless Chromium, spoken to in its DevTools protocol through two pipes."""

    def __init__(self, program, profile):
        to_read, self.to = os.pipe()
        self.out, from_write = os.pipe()

        def take():
            # The browser reads descriptor 3 and writes 4; these may be either now.
            ends = os.dup(to_read), os.dup(from_write)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
                    "--hide-scrollbars", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen([program, *switches], close_fds=False, preexec_fn=take,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.left, self.events, self.number = b"", [], itertools.count(1)
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    session = None

    def message(self):
        while b"\0" not in self.left:
            more = os.read(self.out, 1 << 20)
            if not more:
                sys.exit("the browser went away")
            self.left += more
        one, self.left = self.left.split(b"\0", 1)
        return json.loads(one)

    def __call__(self, method, **parameters):
        """Calls a method; events that come meanwhile are kept."""
        number = next(self.number)
        call = {"id": number, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait_for(self, event):
        while not any(message.get("method") == event for message in self.events):
            self.events.append(self.message())

    def value(self, expression):
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def close(self):
        self.process.kill()
        self.process.wait()


# The outermost elements that reach beyond the window and are not scrolled within one that does not.
WIDE = """(() => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return [];
  return [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > room + 1)
    .slice(0, 5).map(e => e.outerHTML.slice(0, 120));
})()"""


def wrong(browser, page):
    """What is wrong with a page, in words."""
    complaints = []
    for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"]:
        browser(f"{domain}.enable")
    for width, scheme in itertools.product([1280, 380], ["light", "dark"]):
        browser.events.clear()
        browser("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser("Page.navigate", url=page.as_uri())
        browser.wait_for("Page.loadEventFired")
        at = f"{width} px, {scheme}"
        for opened in [False, True]:
            if opened:
                browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
            for element in browser.value(WIDE):
                complaints.append(f"{at}{', opened' if opened else ''}: wider than the window: {element}")
        background = browser.value("getComputedStyle(document.body).backgroundColor")
        if (background == "rgb(255, 255, 255)") != (scheme == "light"):
            complaints.append(f"{at}: the background is {background}")
        for event in browser.events:
            method, said = event.get("method"), event.get("params", {})
            if method == "Network.requestWillBeSent":
                url = said["request"]["url"]
                if url != page.as_uri() and not url.startswith("data:"):
                    complaints.append(f"{at}: asks for {url}")
            elif method in ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"]:
                complaints.append(f"{at}: {method}: {json.dumps(said)[:300]}")
    named, nameless = 0, []
    for node in browser("Accessibility.getFullAXTree")["nodes"]:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in NAMED:
            continue
        named += 1
        if not node.get("name", {}).get("value", "").strip():
            nameless.append(role)
    complaints += [f"{nameless.count(role)} times a {role} without a name" for role in sorted(set(nameless))]
    unnamed = browser.value("""[...document.querySelectorAll("svg, img")].filter(picture =>
      !picture.closest("[aria-hidden=true]") && !(picture.getAttribute("aria-label") || picture.getAttribute("alt")))
      .slice(0, 5).map(picture => picture.outerHTML.slice(0, 120))""")
    complaints += [f"a picture has no name: {picture}" for picture in unnamed]
    figures = browser.value("document.querySelectorAll('figure').length")
    pictures = browser.value("document.querySelectorAll('svg, img').length")
    if not figures or named < figures:
        complaints.append(f"{figures} figures, of which the accessibility tree names {named}")
    size = page.stat().st_size / 1e6
    print(f"{page.name}: {size:.1f} MB, {figures} figures, {pictures} pictures, {named} names, {len(complaints)} complaints")
    return complaints


def main():
    program = found()
    if program is None:
        print("SKIPPED: no chromium or google-chrome on the PATH")
        return
    root = pathlib.Path(__file__).resolve().parent.parent
    kshot = sys.argv[1] if len(sys.argv) > 1 else root / "target/release/kshot"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "small.toml").write_text(SUITE)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([kshot, "run", scratch / "small.toml", "--out", scratch / "suite"], **quiet)
        subprocess.run([kshot, "report", scratch / "suite", "-o", scratch / "small.html"], **quiet)
        pages = [scratch / "small.html", *(pathlib.Path(page).resolve() for page in sys.argv[2:])]
        browser = Browser(program, scratch / "profile")
        try:
            complaints = [f"{page.name}: {one}" for page in pages for one in wrong(browser, page)]
        finally:
            browser.close()
        sys.exit("\n".join(complaints) or 0)


if __name__ == "__main__":
    main()
