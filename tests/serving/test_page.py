"""The page in a real browser, before a really running service whose network knows some digits."""

from __future__ import annotations

import csv
import re
import shutil
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from snn_fusion.data.nmnist import read_nmnist
from snn_fusion.data.recording import EVENT
from snn_fusion.data.sound import read_sound
from snn_fusion.data.synthetic_camera import nmnist_bytes
from snn_fusion.serving.app import create
from snn_fusion.serving.examples import example
from snn_fusion.serving.model import float_model
from snn_fusion.serving.settings import Settings
from tests.serving.digits import learn
from tests.serving.running import free_port, served
from tests.serving.signing import Signer

NEVER = 600_000.0  # ms of waiting: nothing is shortened
WAIT_S = 30


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    return learn(tmp_path_factory.mktemp("learnt") / "graph")


@pytest.fixture(scope="module")
def service(learnt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(learnt, tmp_path_factory.mktemp("service"), pressure_ms=NEVER) as url:
        yield url


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of silence, then example 6, which is what the browser's microphone hears."""
    audio = example("6")["audio"]
    samples = [0.0] * (audio["rate"] // 2) + audio["samples"] + [0.0] * (3 * audio["rate"])
    return write_wav(tmp_path_factory.mktemp("voice") / "voice.wav", samples, audio["rate"])


@pytest.fixture(scope="module")
def browser(learnt: Path, spoken: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
        f"--use-file-for-fake-audio-capture={spoken}%noloop",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield opened
    opened.quit()


class Page:
    """What a person does and sees."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser = browser
        browser.get(url)

    def __getitem__(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def until(self, holds: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, WAIT_S, 0.05).until(lambda _: holds())

    def example(self, label: str) -> WebElement:
        css = f'button[aria-label="Example of {label}"]'
        found: WebElement = self.until(lambda: self.browser.find_elements(By.CSS_SELECTOR, css))[0]
        return found

    def answered(self, act: Callable[[], object]) -> str:
        """The answer, once the stream has come to the same one."""
        self.browser.execute_script("document.getElementById('scores').dataset.done = ''")
        act()
        self.until(lambda: self["scores"].get_attribute("data-done") or self["problem"].is_displayed())
        assert not self["problem"].is_displayed(), self["problem"].text
        assert self["scores"].get_attribute("data-done") == self["answer"].text
        return self["answer"].text

    @property
    def facts(self) -> dict[str, str]:
        return {
            one.find_element(By.TAG_NAME, "dt").text: one.find_element(By.TAG_NAME, "dd").text
            for one in self["facts"].find_elements(By.CSS_SELECTOR, "div")
        }

    @property
    def rasters(self) -> dict[str, int]:
        """Spikes that each sense's raster says it shows."""
        boxes = self["rasters"].find_elements(By.CLASS_NAME, "raster")
        return {box.text.split("\n")[0]: int(box.text.split("\n")[1].split()[0].replace(",", "")) for box in boxes}

    def colours(self, canvas: str) -> int:
        """How many colours are on a canvas: something is drawn."""
        script = """const c = document.querySelector(arguments[0]);
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return new Set(new Uint32Array(d.buffer)).size;"""
        return int(self.browser.execute_script(script, canvas))


@pytest.fixture
def page(browser: webdriver.Chrome, service: str) -> Iterator[Page]:
    browser.get_log("browser")
    yield Page(browser, service)
    assert browser.get_log("browser") == [], "the console has errors"


def write_wav(path: Path, samples: list[float], rate: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        whole = np.round(np.array(samples) * 32768).clip(-32768, 32767).astype("<i2")
        sound.writeframes(np.repeat(whole, channels).tobytes())
    return path


def write_files(folder: Path, recording: dict[str, Any]) -> list[Path]:
    """A recording as the files of its sensors."""
    events, imu = recording["events"], recording["imu"]
    array = np.empty(len(events["t"]), EVENT)
    for name in array.dtype.names or ():
        array[name] = events[name]
    (folder / "seen.bin").write_bytes(nmnist_bytes(array))
    with (folder / "felt.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t_us", *(f"{name}[{unit}]" for name, unit in imu["units"].items())])
        writer.writerows(zip(imu["t"], *imu["channels"].values(), strict=True))
    heard = write_wav(folder / "heard.wav", recording["audio"]["samples"], recording["audio"]["rate"], channels=2)
    return [heard, folder / "seen.bin", folder / "felt.csv"]


def said(service: str, recording: dict[str, Any]) -> dict[str, Any]:
    """What the API says of a recording."""
    answer: dict[str, Any] = httpx.post(f"{service}/v1/predict", json=recording).raise_for_status().json()
    return answer


def test_an_example_gets_the_right_answer_with_its_rasters_and_scores(page: Page, service: str) -> None:
    assert page.answered(page.example("3").click) == "3"
    expected = said(service, example("3"))
    assert page.facts["Decided by"] == "Microphone, Event camera, Tactile/IMU"
    assert page.facts["Margin"].startswith(f"{expected['margin']:.2f}")
    assert page.facts["Steps"] == "50 of 50"
    spikes = httpx.post(f"{service}/v1/spikes", json=example("3")).json()["senses"]
    assert list(page.rasters.values()) == [len(spikes[sense]["index"]) for sense in ("audio", "events", "imu")]
    assert page.colours("#scores") > 2
    assert all(page.colours(f'[data-sense="{sense}"] canvas') > 2 for sense in spikes)
    assert page["scores"].get_attribute("aria-label").startswith("Scores after 50 steps: 3: ")


def test_the_same_example_again_is_another_recording_of_it(page: Page) -> None:
    first = page.answered(page.example("5").click), page.rasters
    again = page.answered(page.example("5").click), page.rasters
    assert first[0] == again[0] == "5" and first[1] != again[1]


def test_a_sense_that_is_unticked_does_not_decide(page: Page, service: str) -> None:
    page.answered(page.example("7").click)
    found = page.answered(page["rasters"].find_element(By.CSS_SELECTOR, '[data-sense="events"] input').click)
    without = {sense: one for sense, one in example("7").items() if sense != "events"}
    assert found == said(service, without)["label"]
    assert page.facts["Decided by"] == "Microphone, Tactile/IMU"
    assert "Event camera" in page.rasters


def test_files_of_three_sensors_are_one_recording(page: Page, tmp_path: Path, service: str) -> None:
    files = write_files(tmp_path, example("8", seed=1))
    assert page.answered(lambda: page["files"].send_keys("\n".join(map(str, files)))) == "8"
    heard = read_sound(files[0])  # the file's 16 bits are a little coarser than the example
    audio = {"samples": heard.samples.tolist(), "rate": heard.rate}
    expected = said(service, {**example("8", seed=1), "audio": audio})
    assert page.facts["Decided by"] == "Microphone, Event camera, Tactile/IMU"
    assert page.facts["Margin"].startswith(f"{expected['margin']:.2f}")


def test_real_sound_and_real_events_are_read_as_training_reads_them(page: Page, mirror: Path, service: str) -> None:
    heard, seen = mirror / "fsdd/recordings/4_theo_0.wav", min((mirror / "nmnist/Test/4").glob("*.bin"))
    found = page.answered(lambda: page["files"].send_keys(f"{heard}\n{seen}"))
    audio, events = read_sound(heard), read_nmnist(seen)
    columns = {name: events.events[name].tolist() for name in EVENT.names or ()}
    recording = {
        "audio": {"samples": audio.samples.tolist(), "rate": audio.rate},
        "events": {**columns, "width": events.width, "height": events.height},
    }
    expected = said(service, recording)
    assert found == expected["label"]
    assert page.facts["Margin"].startswith(f"{expected['margin']:.2f}")
    assert page.facts["Decided by"] == "Microphone, Event camera"


def test_a_voice_is_recorded_at_the_microphones_own_rate(page: Page) -> None:
    page.answered(page["record"].click)
    assert re.fullmatch(r"1\.00 s at 4\d,\d00 Hz\.", page["heard"].text)
    assert page.facts["Decided by"] == "Microphone"
    assert page.rasters["Microphone"] > 300


def test_a_drawing_is_felt_by_the_pen(page: Page) -> None:
    assert not page["drawn"].is_enabled()
    height = page["pad"].size["height"]
    path = ActionChains(page.browser, duration=15)
    path.move_to_element_with_offset(page["pad"], -height // 5, -height // 4).click_and_hold()
    for x, y in [(0.1, 0)] * 4 + [(-0.05, 0.12)] * 5:
        path.move_by_offset(round(x * height), round(y * height))
    path.release().perform()
    page.answered(page["drawn"].click)
    assert page.facts["Decided by"] == "Tactile/IMU"
    assert page["felt"].text.startswith("Drawn in ")
    page["wipe"].click()
    assert not page["drawn"].is_enabled()


def test_keyboard_alone_gets_an_answer(page: Page) -> None:
    page.example("0")
    reached = []
    for _ in range(8):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached.append(page.browser.switch_to.active_element.get_attribute("aria-label"))
        if reached[-1] == "Example of 2":
            break
    assert reached[-1] == "Example of 2", reached
    assert page.answered(ActionChains(page.browser).send_keys(Keys.ENTER).perform) == "2"


@pytest.mark.parametrize(
    ("name", "content", "field", "problem"),
    [
        ("cut.wav", None, "cut.wav", "is cut short: its header promises"),
        ("none.wav", b"MP3", "none.wav", "is not a WAV file"),
        ("cut.bin", b"1234567", "cut.bin", "is cut short: 7 bytes"),
        ("felt.csv", b"t_us,acc_x[m/s^2]\n0,zero\n", "felt.csv", 'row 1 holds "zero"'),
        ("felt.csv", b"t_us,acc_x[m/s^2]\n0,1\n5,2\n", "imu.channels", "lacks acc_y, contact, turn_rate"),
        ("out.bin", bytes([9, 99, 0, 0, 1]), "events.y[0]", "99"),
    ],
)
def test_a_broken_file_says_what_is_wrong(
    name: str, content: bytes | None, field: str, problem: str, browser: webdriver.Chrome, service: str, tmp_path: Path
) -> None:
    page = Page(browser, service)
    page.example("0")
    file = tmp_path / name
    if content is None:
        content = write_wav(file, [0.1] * 4000, 8000).read_bytes()[:1000]
    file.write_bytes(content)
    page["files"].send_keys(str(file))
    page.until(lambda: page["problem"].is_displayed())
    assert page["problem"].text.startswith(f"{field} {problem}"), page["problem"].text
    assert page["problem"].find_element(By.TAG_NAME, "small").text
    page.browser.get_log("browser")  # the browser notes the 422 there
    assert page.answered(page.example("1").click) == "1"
    page.browser.get_log("browser")


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("width", [1200, 390])
def test_pages_fit_and_ask_nobody_else(width: int, path: str, browser: webdriver.Chrome, service: str) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("performance")
    page = Page(browser, f"{service}{path}")
    if path == "/":
        page.answered(page.example("9").click)
    requests = re.findall(r'"Network.requestWillBeSent".*?"url":"(.*?)"', str(browser.get_log("performance")))
    assert requests and all(url.startswith((service, "data:")) for url in requests), requests
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_where_a_token_is_needed_the_page_asks_for_it_and_streams_with_it(
    browser: webdriver.Chrome, learnt: Path, tmp_path: Path
) -> None:
    signer = Signer(tmp_path).make("old")
    app = create(Settings(keys=str(signer.keys), pressure_ms=NEVER), lambda _: float_model(learnt, "learnt"))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", free_port(), log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + WAIT_S
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        page = Page(browser, f"http://127.0.0.1:{server.config.port}")
        page.until(lambda: page["token"].is_displayed())
        assert page["problem"].text.startswith("Authorization is missing")
        page["token"].send_keys(signer.token() + Keys.ENTER)
        assert page.answered(page.example("4").click) == "4"
        assert not page["token"].is_displayed()
    finally:
        server.should_exit = True
        thread.join()
    browser.get_log("browser")
