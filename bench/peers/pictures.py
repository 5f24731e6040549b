"""Times pictures of several programs on the same work, in turns, and prints a table.

Each peer is a command with {steps}, {size} and {out} in it, which draws one picture. It runs with a
few and with more steps: the difference is steps alone, the rest is loading, text and decoding. Peers
take turns in each round, so that what else the machine does meets all alike; how much of the
processors others took is in the table, too.

    python bench/peers/pictures.py --size 256 --steps 4 12 --rounds 3 \\
        "sdgo=./sdgo txt2img -m sd15.safetensors -p cat -W {size} -H {size} --steps {steps} -s 1 -q -o {out}" \\
        "fast=./sdgo txt2img -m sd15.safetensors --precision fast -p cat -W {size} -H {size} --steps {steps} -s 1 -q -o {out}" \\
        "stable-diffusion.cpp=sd-cli -m sd15.safetensors -p cat -W {size} -H {size} --steps {steps} -s 1 -o {out}" \\
        "diffusers bf16=python bench/peers/diffusers_picture.py --size {size} --steps {steps} --type bf16" \\
        "OpenVINO bf16=python bench/peers/openvino_picture.py --size {size} --steps {steps} --type bf16"

Columns: seconds a step, of the clock and of the processors; seconds of the longer run in all; its
peak memory; the share of the processors that other programs had. Medians over rounds, and the
least of the clock's seconds a step, which is what a quiet machine would come to.
"""

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Run:
    wall: float
    processors: float
    memory: float  # GB
    others: float  # share of the processors' time that went to other programs


def busy():
    """Seconds that all processors have worked for programs, of whoever."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, *_ = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measured(command):
    """Runs a command; its output is shown where it fails."""
    with tempfile.TemporaryFile() as output:
        start, before = time.monotonic(), busy()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall, all_busy = time.monotonic() - start, busy() - before
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"{shlex.join(command)} ended with {process.returncode}:\n{output.read().decode(errors='replace')[-2000:]}")
    own = used.ru_utime + used.ru_stime
    return Run(wall, own, used.ru_maxrss / 1e6, max(0.0, all_busy - own) / (wall * os.cpu_count()))


def peer(text):
    name, equals, command = text.partition("=")
    if not equals or "{steps}" not in command:
        raise argparse.ArgumentTypeError(f"must be NAME=COMMAND with {{steps}} in the command, got {text!r}")
    return name, shlex.split(command)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, nargs=2, default=[4, 12], metavar=("FEW", "MORE"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("peers", nargs="+", type=peer, metavar="NAME=COMMAND")
    options = parser.parse_args()
    few, more = options.steps
    if not 0 < few < more or options.rounds < 1:
        parser.error("--steps must be two numbers that rise, and --rounds at least 1")
    runs = {name: [] for name, _ in options.peers}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for name, command in options.peers:
                pair = []
                for steps in (few, more):
                    # The word is split before the folder comes into it, which may have spaces.
                    filled = [w.format(steps=steps, size=options.size, out=Path(folder) / "out.png") for w in command]
                    pair.append(measured(filled))
                runs[name].append(pair)
                print(f"round {turn + 1}, {name}: {(pair[1].wall - pair[0].wall) / (more - few):.3f} s a step, others {pair[1].others:.0%}", file=sys.stderr)
    print(f"| {options.size}x{options.size} | step | at least | of processors | {more} steps in all | memory | others |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name, pairs in runs.items():
        step = [(b.wall - a.wall) / (more - few) for a, b in pairs]
        processors = [(b.processors - a.processors) / (more - few) for a, b in pairs]
        long = [b for _, b in pairs]
        median = statistics.median
        print(f"| {name} | {median(step):.2f} s | {min(step):.2f} s | {median(processors):.2f} s | {median([r.wall for r in long]):.1f} s "
              f"| {max(r.memory for r in long):.1f} GB | {median([r.others for r in long]):.0%} |")


if __name__ == "__main__":
    main()
