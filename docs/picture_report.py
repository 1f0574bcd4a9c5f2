"""The pictures of a report in docs/pictures, taken in Chromium: `python docs/picture_report.py REPORT.html`.

They show the search of the README after `python cli.py confirm`. Needs the extra `dev`, Chromium and chromedriver.
"""

import sys
import time
from pathlib import Path

from selenium import webdriver

PICTURES = Path(__file__).parent / "pictures"
SETTLES_S = 2.0  # until charts are drawn


def browser(width: int, height: int) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"):
        options.add_argument(argument)
    if width < 500:  # a window of Chromium is never so narrow
        metrics = {"width": width, "height": height, "pixelRatio": 1}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    return webdriver.Chrome(options)


def shoot(page: Path, width: int, height: int, places: dict[str, str]) -> None:
    """A picture of the window for each name, with an element, by its CSS selector, at its top."""
    driver = browser(width, height)
    try:
        driver.get(page.absolute().as_uri())
        time.sleep(SETTLES_S)
        for name, selector in places.items():
            driver.execute_script("document.querySelector(arguments[0]).scrollIntoView()", selector)
            time.sleep(SETTLES_S / 2)
            driver.save_screenshot(str(PICTURES / f"{name}.png"))
    finally:
        driver.quit()


if __name__ == "__main__":
    report = Path(sys.argv[1])
    shoot(report, 1180, 1300, {"report": "body"})
    shoot(report, 1180, 740, {"front": "#front"})
    shoot(report, 1180, 800, {"axes": "#axes", "network": "#networks details[open]"})
    shoot(report, 390, 983, {"phone": "body"})
