"""How far films of a minute drift: ``python benchmarks/drift.py FOLDER [--films 10] [--processes 2] [--sheets]``.

Paints films of 60 s with the embedded model through the command line, each in a program of its own whose memory is
watched from outside, measures them as ``sora info --drift`` does, and asks the judge what they show in the end:

    one       of one shot
    fresh     of one shot, other prompts, which nothing was ever chosen by
    five      of five shots: the same subject in the same setting, other motions and cameras
    settings  of five shots in five settings, for information: each shot is compared with its own first window

What is in FOLDER already is neither painted nor measured again, so that a run that was stopped goes on. ``--sheets``
writes contact sheets as PNG. ``--kinds`` takes some of the three, and ``--measure`` paints nothing.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from drift_parts import measuring, painting
from drift_parts.cases import KINDS, Case, cases
from drift_parts.measuring import Finding

COLOUR, CONTRAST, SHARPNESS = 4.0, 0.05, 0.15  # what is asked for: grey levels and shares of the first window
FILMS_WITHIN, SUBJECTS, MEMORY = 0.9, 0.85, 1.15  # shares of films, and memory of a film over that of one window


def levels(change: dict[str, Any]) -> float:
    return max(change["color"], key=abs)


def within(change: dict[str, Any]) -> tuple[bool, bool, bool]:
    """In colour, contrast and sharpness."""
    return abs(levels(change)) <= COLOUR, abs(change["contrast"]) <= CONTRAST, abs(change["sharpness"]) <= SHARPNESS


def print_films(found: Sequence[Finding], reference: str) -> None:
    """A row for each film. reference: "from_first" or "from_shots"."""
    print("| film | color, levels | contrast | sharpness | last window | within | subject in the last 2 s | memory |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for each in found:
        worst, last = each.drift[reference]["worst"], each.drift[reference]["last"]
        ends = f"{levels(last):+.1f}, {last['contrast']:+.0%}, {last['sharpness']:+.0%}"
        missed = [
            name for name, good in zip(("color", "contrast", "sharpness"), within(worst), strict=True) if not good
        ]
        named = each.last if each.last == each.subject else f"{each.last} for {each.subject}"
        memory = f"{each.own / each.window:.2f}" if each.own and each.window else ""
        numbers = f"{levels(worst):+.1f} | {worst['contrast']:+.1%} | {worst['sharpness']:+.0%} | {ends}"
        print(f"| {each.name} | {numbers} | {'not ' + ', '.join(missed) if missed else 'yes'} | {named} | {memory} |")


def print_verdict(title: str, found: Sequence[Finding], reference: str) -> None:
    measures = [within(each.drift[reference]["worst"]) for each in found]
    names = ("color", "contrast", "sharpness")
    by_measure = ", ".join(f"{name} {sum(m[n] for m in measures)}" for n, name in enumerate(names))
    all_three = sum(map(all, measures))
    print(f"\n{title}: within all three in {all_three} of {len(found)} films ({by_measure}); ", end="")
    print("met" if all_three >= FILMS_WITHIN * len(found) else "MISSED")


def print_subjects_and_memory(found: Sequence[Finding]) -> None:
    right = sum(each.last == each.subject for each in found)
    print(f"subject in the last 2 s: {right} of {len(found)}; {'met' if right >= SUBJECTS * len(found) else 'MISSED'}")
    ratios = [each.own / each.window for each in found if each.own and each.window]
    if ratios:
        worst = max(ratios)
        shown = f"{statistics.median(ratios):.2f}, at most {worst:.2f}"
        print(f"memory over that of one window: {shown}; {'met' if worst <= MEMORY else 'MISSED'}")


def print_windows(found: Sequence[Finding]) -> None:
    """What changes from window to window, over all films: medians of sharpness and of the subject's size as shares of
    the first window's, of how far colors move in place, and how many films have their subject, whole."""
    print("\n| window | sharpness over the first | color in place, levels | subject's size | subject right | whole |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n in range(min(len(each.seen) for each in found)):
        sharpness = [each.drift["windows"][n]["sharpness"] / each.drift["windows"][0]["sharpness"] for each in found]
        sizes = [each.seen[n].cover / each.seen[0].cover for each in found]
        right = sum(each.seen[n].subject == each.subject for each in found)
        whole = sum(each.seen[n].whole for each in found)
        places = statistics.median(each.seen[n].places for each in found)
        medians = f"{statistics.median(sharpness):.2f} | {places:.1f} | {statistics.median(sizes):.2f}"
        print(f"| {n + 1} | {medians} | {right} of {len(found)} | {whole} of {len(found)} |")


def report(kind: str, found: Sequence[Finding]) -> None:
    reference = "from_shots" if kind == "settings" else "from_first"
    print(f"\n## {kind}\n")
    print_films(found, reference)
    print_verdict(kind, found, reference)
    if kind == "five":
        print_verdict("five, each shot against its own first window", found, "from_shots")
    print_subjects_and_memory(found)
    print_windows(found)


def painted(chosen: Iterable[Case], folder: Path) -> list[Case]:
    return [case for case in chosen if (folder / f"{case.name}.json").exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--films", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sheets", action="store_true")
    parser.add_argument("--measure", action="store_true", help="of what is painted already; paint nothing")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    chosen = [case for case in cases(args.films) if case.kind in args.kinds]
    if not args.measure:
        with ThreadPoolExecutor(args.processes) as pool:
            for done in [pool.submit(painting.paint, case, args.folder) for case in chosen]:
                done.result()
    there = painted(chosen, args.folder)
    found = {case: measuring.measure(case, args.folder) for case in there}
    for case in there if args.sheets else ():
        print(measuring.sheet(case, args.folder))
    for kind in args.kinds:
        if of_kind := [found[case] for case in there if case.kind == kind]:
            report(kind, of_kind)


if __name__ == "__main__":
    main()
