"""Debian's Chromium, headless, driven by Selenium: what a person sees, and what its console complains of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.daemon import until

__all__ = ["DESK", "PHONE", "Browser", "browser", "missing"]

PHONE = (390, 844)
DESK = (1180, 900)


def missing() -> str:
    """Why there is no browser, or empty."""
    programs = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"{', '.join(programs)} not found: tools/install-browser.sh installs Debian's" if programs else ""


class Browser:
    """One window."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Go there, and return when the page has heard from its daemon."""
        self.driver.get(url)
        until(lambda: self.one("main").get_attribute("aria-busy") == "false", "the page shows figures")

    def look(self, size: tuple[int, int], *, dark: bool = False, scale: float = 1) -> None:
        """Be a screen of this size in CSS pixels."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def one(self, selector: str) -> WebElement:
        """The first element that fits."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Every element that fits."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """As it is read on the screen."""
        return self.one(selector).text

    def shows(self, selector: str, wanted: Callable[[str], bool], what: str) -> str:
        """The text as soon as it is so."""
        until(lambda: wanted(self.text(selector)), f"{selector} {what}")
        return self.text(selector)

    def run(self, script: str) -> object:
        """What a script of ours returns."""
        answer: object = self.driver.execute_script(script)
        return answer

    def complaints(self) -> list[str]:
        """What the console says since it was last asked, but for a daemon's end: refused scripts, styles, errors."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # Selenium's own
        messages = [str(entry["message"]) for entry in entries]
        return [one for one in messages if not ("api/status" in one and "net::ERR_" in one)]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser of its own, without a profile, that asks nobody but this machine."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless=new", "disable-dev-shm-usage", "disable-background-networking", "no-first-run"):
        options.add_argument(f"--{flag}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # it refuses to have one as root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
