"""The DPO loss of hidden states and output matrix, ours and others', on the same tensors: time as a
ratio to the matrix products of the schedule, and memory. Not part of the build.

usage: run.py [--build build] [--library libplumb.so.1] [--python python] [--rounds 3] [--repeats 2]
              [--threads 2] [--shapes 2048,2048,32768 2048,576,49152] [--peers ...]

Every measurement is a process of its own. A round runs them one after the other, the products with
them (build/bench_dpo); the best of all rounds counts. Prints Markdown.
"""

import argparse
import json
import os
import subprocess
import sys

p = argparse.ArgumentParser()
p.add_argument("--build", default="build")
p.add_argument("--library", help="libplumb.so.1, by default the build's")
p.add_argument("--python", default=sys.executable)
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--repeats", type=int, default=2)
p.add_argument("--threads", type=int, default=2)
p.add_argument("--shapes", nargs="+", default=["2048,2048,32768", "2048,576,49152"])
p.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
p.add_argument(
    "--peers", nargs="+",
    default=["plumb", "torch", "torch_fused", "trl", "plumb_trl", "liger", "liger_compiled"])
a = p.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
library = os.path.abspath(a.library or os.path.join(a.build, "libplumb.so"))
environment = {
    **os.environ, "OMP_NUM_THREADS": str(a.threads), "PLUMB_LIBRARY": library,
    "PYTHONPATH": os.pathsep.join(
        [os.path.join(here, "..", "..", "python"), os.environ.get("PYTHONPATH", "")]),
}


def run(command):
    made = subprocess.run(command, env=environment, capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{' '.join(command)}\n{made.stderr[-2000:]}")
    return json.loads(made.stdout.strip().splitlines()[-1])


def peer(name, shape, dtype, reference):
    script = os.path.join(here, "dpo_head.py")
    return run([
        a.python, script, name, *shape, dtype, str(int(reference)), str(a.repeats), str(a.threads)])


def measure(shape, dtype):
    """(products, ours in C, {(peer, reference): its best})."""
    c, peers = None, {}
    for _ in range(a.rounds):
        now = run([os.path.join(a.build, "bench_dpo"), *shape, dtype, str(a.repeats)])
        c = now if c is None else {k: min(v, now[k]) for k, v in c.items()}
        for reference in (False, True):
            for name in a.peers:
                made = peer(name, shape, dtype, reference)
                if "skipped" in made:
                    continue
                old = peers.get((name, reference))
                made["seconds"] = min(made["seconds"] + ([old["seconds"]] if old else []))
                for k in ("extra", "adding"):
                    made[k] = min([made[k]] + ([old[k]] if old else []))
                peers[name, reference] = made
    return c, peers


def main():
    for shape in a.shapes:
        for dtype in a.dtypes:
            c, peers = measure(shape.split(","), dtype)
            for reference in (False, True):
                products = c["four" if reference else "three"]
                ours = c["reference" if reference else "policy"]
                print(f"\nN, H, V {shape.replace(',', ', ')}, {dtype}, "
                      f"{'policy and reference' if reference else 'policy'}: products {products:.3f} s\n")
                scratch = f"{c['scratch'] / 1e6:.0f}"
                print("| | seconds | / products | extra MB | adding to gradients | loss |\n"
                      "|---|---|---|---|---|---|")
                print(f"| plumb in C | {ours:.3f} | {ours / products:.3f} | {scratch} | {scratch} | |")
                of_torch = peers.get(("torch", reference))
                for (name, made_reference), made in peers.items():
                    if made_reference != reference:
                        continue
                    s = made["seconds"]
                    print(f"| {name} | {s:.3f} | {s / products:.2f} | {made['extra'] / 1e6:.0f} "
                          f"| {made['adding'] / 1e6:.0f} | {made['loss']:.5f} |")
                if of_torch:
                    shares = [of_torch[k] / c["scratch"] for k in ("extra", "adding")]
                    print("\nscratch is 1/{:.1f} of plain torch's extra memory, 1/{:.1f} where both "
                          "add to gradients".format(*shares))
            sys.stdout.flush()


main()
