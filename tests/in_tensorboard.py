#!/usr/bin/env python3
"""Whether TensorBoard reads what kshot logs, without a warning: `pip install tensorboard`.

    cargo test --release -p kshot --test tensorboard          # leaves logs in target/tmp/tensorboard
    python3 tests/in_tensorboard.py target/tmp/tensorboard

First its Python readers, then the server as `tensorboard --logdir` starts it, with its fast loader and with its old one:
scalars, histograms, pictures, text, HParams and the projector, each asked over HTTP as a browser asks.
"""

import io
import json
import logging
import pathlib
import re
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator as PluginAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

EVERYTHING = {"scalars": 0, "histograms": 0, "images": 0, "tensors": 0}
STEPS, VALIDATED = list(range(1, 31)), [10, 20, 30]
PLUGINS = ["scalars", "images", "distributions", "histograms", "text", "hparams", "projector"]
# Nothing that the logs can do anything about.
EXPECTED = ["TensorFlow installation not found", "NOTE: Using experimental fast data loading", "--load_fast=false",
            "issues/4784", "caught SIGTERM"]


def is_png(data, width=None, height=None):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:8]
    assert width is None or struct.unpack(">II", data[16:24]) == (width, height)
    return True


def read(logs):
    """With the readers of TensorBoard's Python package, which warn of what they find odd."""
    warnings = io.StringIO()
    logging.getLogger("tensorboard").addHandler(logging.StreamHandler(warnings))
    run = EventAccumulator(str(logs / "run"), EVERYTHING)
    run.Reload()
    tags = run.Tags()
    assert {"train/loss", "validation/accuracy", "final/accuracy", "final/steps"} <= set(tags["scalars"]), tags
    assert [event.step for event in run.Scalars("train/loss")] == STEPS
    metrics = [json.loads(line) for line in (logs / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in metrics if "train/loss" in line]
    assert all(abs(a.value - b) <= 1e-6 for a, b in zip(run.Scalars("train/loss"), losses, strict=True))
    for what in ["weights", "gradients"]:
        tag = f"{what}/block0.conv.weight"
        events = run.Histograms(tag)
        assert [event.step for event in events] == VALIDATED, tag
        for event in events:
            histogram = event.histogram_value
            assert histogram.num == sum(histogram.bucket) == 8 * 9, tag
            assert histogram.min <= histogram.bucket_limit[0] and histogram.bucket_limit[-1] == histogram.max
            assert list(histogram.bucket_limit) == sorted(set(histogram.bucket_limit)), tag
    assert run.Histograms("validation/accuracy_per_episode")[-1].histogram_value.num == 20
    assert {"settings", "environment"} <= set(tags["tensors"])

    test = EventAccumulator(str(logs / "test"), EVERYTHING)
    test.Reload()
    assert len(test.Tags()["images"]) == 8, test.Tags()
    for tag in test.Tags()["images"]:
        (image,) = test.Images(tag)
        assert is_png(image.encoded_image_string, image.width, image.height), tag
    warned = warnings.getvalue()
    assert not warned, warned

    # Here a warning is what it is for: points of a run that crashed are forgotten.
    resumed = PluginAccumulator(str(logs / "resumed"), tensor_size_guidance={"scalars": 0, "histograms": 0})
    resumed.Reload()
    assert warnings.getvalue().count("Purging") == 1, warnings.getvalue()
    for tag, steps in [("train/loss", STEPS), ("weights/block0.conv.weight", VALIDATED), ("final/steps", [30])]:
        assert [event.step for event in resumed.Tensors(tag)] == steps, tag
    session = resumed.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    settings = parse_session_start_info_plugin_data(session).hparams
    assert settings["learner"].string_value == "prototypes"
    assert settings["train.learning-rate"].number_value == 0.001


class Server:
    """TensorBoard on a free port."""

    def __init__(self, logs, *flags):
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", "0", "--host", "127.0.0.1", *flags]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        self.lines, self.address, found = [], None, threading.Event()

        def listen():
            for line in self.process.stderr:
                self.lines.append(line)
                there = re.search(r"TensorBoard \S+ at (http://\S+?)/? ", line)
                if there:
                    self.address = there[1]
                    found.set()

        self.listener = threading.Thread(target=listen, daemon=True)
        self.listener.start()
        assert found.wait(60), self.lines

    def get(self, path, body=None, **query):
        url = f"{self.address}/data/{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as answer:
            return answer.read()

    def json(self, path, body=None, **query):
        return json.loads(self.get(path, body, **query))

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.listener.join()
        said = [line for line in self.lines if line.strip() and self.address not in line]
        return [line for line in said if not any(known in line for known in EXPECTED)]


def wait_for(what, ready):
    """The answer, once it is one: TensorBoard reads in the background."""
    for _ in range(100):
        answer = ready()
        if answer:
            return answer
        time.sleep(0.2)
    sys.exit(f"TensorBoard never had {what}")


def serve(logs, *flags):
    server = Server(logs, *flags)
    ask = server.json
    try:
        wait_for("runs", lambda: set(ask("runs")) == {"run", "resumed", "test"})
        listing = wait_for("all plugins", lambda: (all_ := ask("plugins_listing")) and all(all_[p]["enabled"] for p in PLUGINS) and all_)
        active = [plugin for plugin in listing if listing[plugin]["enabled"]]
        wait_for("the last step", lambda: ask("plugin/scalars/scalars", run="run", tag="train/loss")[-1][1] == 30)
        # The whole of the resumed run, and nothing twice.
        for run in ["run", "resumed"]:
            points = ask("plugin/scalars/scalars", run=run, tag="train/loss")
            assert [step for _, step, _ in points] == STEPS, (run, points)
            histograms = ask("plugin/histograms/histograms", run=run, tag="gradients/block1.conv.weight")
            assert [step for _, step, _ in histograms] == VALIDATED, (run, histograms)
            total = sum(count for _, _, count in histograms[0][2])
            assert abs(total - 8 * 8 * 9) < 1e-3, total
        assert ask("plugin/distributions/distributions", run="run", tag="weights/block0.conv.weight")
        (image,) = ask("plugin/images/images", run="test", tag="episodes/test/0", sample=0)
        assert is_png(server.get("plugin/images/individualImage?" + image["query"]))
        (text,) = ask("plugin/text/text", run="test", tag="test/environment")
        assert "<td>threads</td>" in text["text"], text
        assert "prototypes" in ask("plugin/text/text", run="run", tag="settings")[0]["text"]

        wanted = {"experimentName": "", "includeMetrics": True}
        experiment = ask("plugin/hparams/experiment", wanted)
        names = {info["name"] for info in experiment["hparamInfos"]}
        assert {"learner", "train.learning-rate", "setup.ways", "experiment.data"} <= names, names
        metrics = {info["name"]["tag"] for info in experiment["metricInfos"]}
        assert {"final/accuracy", "test/accuracy"} <= metrics, metrics
        columns = [{"metric": {"group": "", "tag": tag}} for tag in ["final/accuracy", "test/accuracy"]]
        columns += [{"hparam": name} for name in sorted(names)]
        status = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]
        asked = {**wanted, "allowedStatuses": status, "colParams": columns, "startIndex": 0, "sliceSize": 10}
        groups = ask("plugin/hparams/session_groups", {**asked, "aggregationType": "AGGREGATION_AVG"})
        rows = {group["sessions"][0]["name"]: group for group in groups["sessionGroups"]}
        assert set(rows) == {"run", "resumed", "test"}, rows
        figures = {value["name"]["tag"]: value["value"] for value in rows["run"]["metricValues"]}
        best = json.loads((logs / "run/best.json").read_text())["validation"]["mean"]
        assert abs(figures["final/accuracy"] - best) < 1e-6, (figures, best)
        assert rows["run"]["sessions"][0]["status"] == "STATUS_SUCCESS", rows["run"]
        assert rows["run"]["hparams"]["train.learning-rate"] == 0.001, rows["run"]

        tested = {value["name"]["tag"]: value["value"] for value in rows["test"]["metricValues"]}
        assert figures["test/accuracy"] == tested["test/accuracy"] and "final/accuracy" not in tested, (figures, tested)

        assert sorted(ask("plugin/projector/runs")) == ["run", "test"]
        (embedding,) = ask("plugin/projector/info", run="test")["embeddings"]
        assert embedding["tensorShape"] == [120, 72], embedding
        place = {"run": "test", "name": embedding["tensorName"]}
        assert len(server.get("plugin/projector/tensor", **place)) == 4 * 120 * 72
        header, *lines = server.get("plugin/projector/metadata", **place).decode().splitlines()
        assert header.split("\t")[0] == "class" and len(lines) == 120, header
        assert is_png(server.get("plugin/projector/sprite_image", **place))
    finally:
        warned = server.close()
    # The old loader says of the crashed run what it forgets; see `read`.
    warned = [line for line in warned if "Purging" not in line]
    assert not warned, "".join(warned)
    print(f"tensorboard {' '.join(flags)}: {', '.join(active)}")


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[1]).resolve()
    read(place)
    for loader in ["--load_fast=auto", "--load_fast=false"]:
        serve(place, loader)
