"""The tables: medians, and ratios that are formed within each round, so that what disturbs a whole round does not count."""
import statistics

from targets import RIVALS

PEAK = "peak memory"
NEVER_FLUSHES = "cryfs"  # answers fsync without calling it, so it is no rival where flushing is what takes the time


def lower_is_better(row):
    return row.endswith((", s", ", s/GiB", ", MiB")) or row.startswith("bytes")


def flushes(row):
    return any(word in row for word in ("fsync", "fdatasync", "SQLite", "sequential write"))


def middle(row, by_round):
    values = by_round.values()
    return max(values) if row.startswith(PEAK) else statistics.median(values)


def number(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.01 or value == 0 else f"{value:.1g}"


def ratio(row, ours, theirs):
    """How many times better ours is; the median over rounds, or None."""
    pairs = [(ours[n], theirs[n]) for n in ours if ours[n] and theirs.get(n)]
    if not pairs:
        return None
    return statistics.median(b / a if lower_is_better(row) else a / b for a, b in pairs)


class Results:
    """What was measured so far."""

    def __init__(self):
        self.round = 0
        self.samples = {}  # row: {target: {round: value}}
        self.messages = {}  # row: {kind: count}, of the last round
        self.failures = []


def ratios(samples, names, subject):
    """For each row: the subject against each other target, and against the best rival of that row."""
    table = {}
    for row, by_target in samples.items():
        ours = by_target.get(subject)
        if not ours:
            continue
        against = {n: ratio(row, ours, by_target[n]) for n in names if n != subject and n in by_target}
        against = {n: r for n, r in against.items() if r is not None}
        rivals = [r for n, r in against.items() if n in RIVALS and not (n == NEVER_FLUSHES and flushes(row))]
        table[row] = dict(against, **({"best rival": min(rivals)} if rivals else {}))
    return table


def print_table(title, columns, rows):
    widths = [max(len(title), *(len(r[0]) for r in rows))] + [max(len(c), 9) for c in columns]
    print(f"{title:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(columns, widths[1:])))
    for row, cells in rows:
        print(f"{row:<{widths[0]}}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths[1:])))
    print()


def show(results, names, subject):
    samples = results.samples
    names = [n for n in names if any(n in by for by in samples.values())]
    if samples:
        print_table("median", names, [(row, [number(middle(row, by[n])) if n in by else "-" for n in names])
                                      for row, by in samples.items()])
    table = ratios(samples, names, subject)
    columns = [n for n in names if n != subject] + (["best rival"] if set(names) & set(RIVALS) else [])
    if table and columns:
        print_table(f"{subject} is so many times better than", columns,
                    [(row, [f"{against[c]:.2f}" if c in against else "-" for c in columns]) for row, against in table.items()])
    for failure in results.failures:
        print(f"failed: {failure}")
