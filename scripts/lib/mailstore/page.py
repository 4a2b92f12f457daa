"""The report as one page for a browser: needs nothing but itself, runs no script, asks nobody for anything.

What owners and peers chose (names, folders, reasons) goes through `said` and nowhere else.
"""

import base64
import hashlib
import html

from . import cli
from .report import SHOWN_MAX, moment

# Owners that are drawn one by one.
DRAWN_MAX = 20

STYLE = """
:root { color-scheme: light dark; --back: #f6f7f8; --card: #fff; --text: #1b1f23; --dim: #5a636c; --line: #dde1e5; --grid: #e8ebee;
  --in: #2f6db3; --out: #d9822b; --bad: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --card: #1c2024; --text: #e7eaed; --dim: #9ca6af; --line: #30363c; --grid: #282d32;
    --in: #6ba6e5; --out: #e8a255; --bad: #f28b82; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
p { margin: 0; }
header p, .dim, footer { color: var(--dim); font-size: .875rem; }
header p, li, td, dd, th { overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin-top: 1rem; min-width: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); gap: 1rem; margin: 0; }
.figures dt { color: var(--dim); font-size: .875rem; }
.figures dd { margin: 0; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); }
figure { margin: 0; }
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: .5rem; }
.plot svg { width: 100%; height: 12rem; display: block; overflow: visible; }
.scale { display: flex; flex-direction: column; justify-content: space-between; text-align: right; margin: -.6rem 0; }
.scale, .dates, .key { color: var(--dim); font-size: .75rem; font-variant-numeric: tabular-nums; }
.dates { grid-column: 2; display: flex; justify-content: space-between; padding-top: .25rem; }
.key { display: flex; gap: 1rem; margin: 0 0 .9rem; padding: 0; list-style: none; font-size: .875rem; }
.key svg { width: .75rem; height: .75rem; margin-right: .35rem; }
.in { fill: var(--in); } .out { fill: var(--out); } .rest { fill: var(--dim); } .back { fill: var(--grid); }
.grid { stroke: var(--grid); stroke-width: 1; vector-effect: non-scaling-stroke; }
details { margin-top: .75rem; } summary { cursor: pointer; color: var(--dim); font-size: .875rem; }
.bars { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 2rem; }
.bars li { break-inside: avoid; padding-bottom: .6rem; }
.bars p { display: flex; justify-content: space-between; gap: 1rem; font-size: .875rem; }
.bars p span:last-child { white-space: nowrap; color: var(--dim); font-variant-numeric: tabular-nums; }
.bars svg { display: block; width: 100%; height: .5rem; border-radius: .25rem; }
.list { list-style: none; margin: 0; padding: 0; }
.list li { padding: .5rem 0; border-top: 1px solid var(--grid); }
.list li:first-child { border-top: 0; padding-top: 0; }
.list .head { display: flex; flex-wrap: wrap; column-gap: .75rem; align-items: baseline; }
.list .head span:not(:first-child) { color: var(--dim); font-size: .875rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--dim); padding: .25rem .5rem; white-space: nowrap; }
td { text-align: right; padding: .25rem .5rem; border-top: 1px solid var(--grid); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; }
th:last-child, td:last-child { padding-right: 0; }
tfoot td { font-weight: 600; border-top: 2px solid var(--line); }
@media (max-width: 40rem) {
  main { padding: 1rem .75rem 2rem; }
  .bars { columns: 1; }
  .plot svg { height: 9rem; }
  .owners thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .owners, .owners tbody, .owners tfoot { display: block; }
  .owners tr { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 0 .25rem; padding: .5rem 0; border-top: 1px solid var(--grid); }
  .owners tbody tr:first-child { border-top: 0; padding-top: 0; }
  .owners td { border: 0; padding: 0; text-align: left; white-space: normal; }
  .owners td:first-child { grid-column: 1 / -1; font-weight: 600; }
  .owners td[data-name]::before { content: attr(data-name); display: block; color: var(--dim); font-size: .75rem; font-weight: 400; }
  .owners tfoot tr { border-top: 2px solid var(--line); }
}
@media print { section { break-inside: avoid; } body { background: none; } }
"""


def said(text):
    """A text that others chose, as it may stand in the page."""
    return html.escape(cli.printable(str(text)), quote=True)


def page(report):
    """The whole page."""
    held, log = report.held, report.log
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    parts = [
        "<!doctype html>\n",
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        # Nothing is loaded and nothing runs, whatever the texts in here are.
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'sha256-{digest}\'; '
        "img-src data:; base-uri 'none'; form-action 'none'\">\n",
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="robots" content="noindex">\n<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n',
        f"<title>MailStore: what is kept</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        f"<header>\n<h1>MailStore</h1>\n<p>What is kept in {said(report.spool)}, {stamp(report.now)}</p>\n</header>\n",
        figures(report),
        section("Messages a day", by_day(report)),
        section("Size by owner", by_owner(held)),
    ]
    if log is not None:
        parts.append(section(f"Not kept, by the log of {report.period()}", not_kept(report)))
    parts.append(section(f"Silent for {cli.count(report.silent_days, 'day')} or more", silent(report)))
    parts.append(section("Owners", table(report)))
    if log is not None:
        parts.append(section("The log", from_log(log, report)))
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)


def section(title, body):
    return f"<section>\n<h2>{said(title)}</h2>\n{body}</section>\n"


def stamp(seconds):
    return f"<time>{said(moment(seconds))}</time>"


def figures(report):
    held = report.held
    last = max((one.last for one in held.owners if one.last is not None), default=None)
    shown = [
        ("Owners", f"{len(held.owners):,}", False),
        ("Messages in", f"{held.total('incoming'):,}", False),
        ("Messages out", f"{held.total('outgoing'):,}", False),
        ("Size", cli.amount(held.total("octets")), False),
        ("Last message", f"{report.age(last)} ago" if last is not None and report.age(last) != "now" else report.age(last), False),
        (f"Silent for {report.silent_days} d", f"{len(report.silent()):,}", False),
    ]
    if report.log is not None:
        missed = report.log.missed()
        shown.append((f"Not kept in {len(held.days.dates)} d", f"{missed:,}", missed > 0))
    cells = "".join(f"<div><dt>{said(name)}</dt><dd{bad(wrong)}>{said(value)}</dd></div>\n" for name, value, wrong in shown)
    aside = "" if report.parted else '<p class="dim">Out is not told from in: sent_folder is the inbox.</p>\n'
    return f'<section aria-label="All together">\n<dl class="figures">\n{cells}</dl>\n{aside}</section>\n'


def bad(wrong):
    return ' class="bad"' if wrong else ""


def by_day(report):
    """A column a day, in below out. Only the columns are stretched to the width of the page; what is written keeps its size."""
    held = report.held
    dates, incoming, outgoing = held.days.dates, held.incoming, held.outgoing
    top = scale(max(map(sum, zip(incoming, outgoing))))
    columns = []
    for at, (date, came, went) in enumerate(zip(dates, incoming, outgoing)):
        low, high = height(came, top), height(went, top)
        columns.append(
            f"<g><title>{date}: {came:,} in, {went:,} out</title>"
            f'<rect class="in" x="{at * 10 + 1}" y="{100 - low:g}" width="8" height="{low:g}"/>'
            f'<rect class="out" x="{at * 10 + 1}" y="{100 - low - high:g}" width="8" height="{high:g}"/></g>\n'
        )
    width = 10 * len(dates)
    lines = "".join(f'<line class="grid" x1="0" x2="{width}" y1="{y}" y2="{y}"/>' for y in (0, 50, 100))
    most = max(range(len(dates)), key=lambda at: incoming[at] + outgoing[at])
    about = (
        f"{sum(incoming):,} messages in and {sum(outgoing):,} out in {report.period()}; the most on {dates[most]}: "
        f"{incoming[most]:,} in, {outgoing[most]:,} out. The table below has each day."
    )
    ticks = "".join(f"<span>{value:,}</span>" for value in (top, top // 2, 0))
    shown = dict.fromkeys((dates[0], dates[len(dates) // 2], dates[-1]))
    rows = "".join(f"<tr><td>{date}</td><td>{came:,}</td><td>{went:,}</td></tr>\n" for date, came, went in zip(dates, incoming, outgoing))
    return (
        "<figure>\n"
        f'<ul class="key"><li>{spot("in")}in {sum(incoming):,}</li><li>{spot("out")}out {sum(outgoing):,}</li></ul>\n'
        f'<div class="plot">\n<div class="scale" aria-hidden="true">{ticks}</div>\n'
        f'<svg id="days" role="img" aria-labelledby="days-title days-about" viewBox="0 0 {width} 100" preserveAspectRatio="none">\n'
        f'<title id="days-title">Messages a day</title>\n<desc id="days-about">{about}</desc>\n{lines}\n{"".join(columns)}</svg>\n'
        f'<div class="dates" aria-hidden="true">{"".join(f"<span>{date}</span>" for date in shown)}</div>\n</div>\n'
        "<details>\n<summary>As a table</summary>\n"
        f'<table id="by-day">\n<thead><tr><th scope="col">day</th><th scope="col">in</th><th scope="col">out</th></tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n</details>\n</figure>\n"
    )


def scale(most):
    """The top of an axis: 2, 4, 10, 20, 40, 100..., so that its half is a number of messages."""
    step = 1
    while True:
        for factor in (2, 4, 10):
            if most <= factor * step:
                return factor * step
        step *= 10


def height(value, top):
    """Of 100; what is there is seen."""
    return max(round(100 * value / top, 2), 0.7) if value else 0


def spot(name):
    return f'<svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{name}" width="1" height="1"/></svg>'


def by_owner(held):
    largest = sorted(held.owners, key=lambda one: (-one.octets, one.title))
    drawn = [(one.title, one.octets, "in") for one in largest[:DRAWN_MAX] if one.octets]
    rest = largest[len(drawn) :]
    if not drawn:
        return '<p class="dim">Nothing is kept.</p>\n'
    left = sum(one.octets for one in rest)
    if left:
        drawn.append((f"{cli.count(len(rest), 'other owner')}", left, "rest"))
    top = max(octets for _, octets, _ in drawn)
    rows = []
    for title, octets, kind in drawn:
        part = max(100 * octets / top, 0.5)
        rows.append(
            f"<li><p><span>{said(title)}</span> <span>{cli.amount(octets)}</span></p>"
            f'<svg role="img" viewBox="0 0 100 1" preserveAspectRatio="none"><title>{said(title)}: {cli.amount(octets)}</title>'
            f'<rect class="back" width="100" height="1"/><rect class="{kind}" width="{part:.2f}" height="1"/></svg></li>\n'
        )
    return f'<ol class="bars" id="by-owner">\n{"".join(rows)}</ol>\n'


def not_kept(report):
    items = []
    table = report.not_kept() + report.later()
    for one in table[:SHOWN_MAX]:
        folder = f"<span>{said(one.folder())}</span>" if one.folder() else ""
        items.append(
            f'<li><p class="head"><span>{said(report.title(one.owner))}</span>{folder}<span>{cli.count(one.count, "time")}</span>'
            f"<span>last {stamp(one.last)}</span></p><p>{said(one.reason)}</p></li>\n"
        )
    if not items:
        return '<p class="dim">All messages were kept.</p>\n' if report.log.lines else '<p class="dim">The log has no line of that time.</p>\n'
    return f'<ul class="list" id="not-kept">\n{"".join(items)}</ul>\n{and_more(table)}'


def silent(report):
    quiet = report.silent()
    if not quiet:
        return '<p class="dim">Nobody.</p>\n'
    items = []
    for one in quiet[:SHOWN_MAX]:
        when = "nothing is kept" if one.last is None else f"last {said(moment(one.last)[:10])}, {report.age(one.last)} ago"
        items.append(f'<li><p class="head"><span>{said(one.title)}</span><span>{when}</span></p></li>\n')
    return f'<ul class="list" id="silent">\n{"".join(items)}</ul>\n{and_more(quiet)}'


def and_more(items):
    return f'<p class="dim">And {len(items) - SHOWN_MAX:,} more.</p>\n' if len(items) > SHOWN_MAX else ""


def table(report):
    """Of all owners. Where the page is narrow each row is a block; the roles tell that it is a table still."""
    held, names = report.held, ["in", "out", "size", "last"]
    if report.log is not None:
        names.append("not kept")

    def row(who, cells, missed):
        cells = list(cells)
        if report.log is not None:
            cells.append(f"{missed:,}")
        shown = "".join(
            f'<td role="cell" data-name="{name}"{bad(name == "not kept" and missed)}>{cell}</td>' for name, cell in zip(names, cells)
        )
        return f'<tr role="row"><td role="cell">{said(who)}</td>{shown}</tr>\n'

    rows = []
    for one in held.owners:
        cells = (f"{one.incoming:,}", f"{one.outgoing:,}", cli.amount(one.octets), report.age(one.last))
        rows.append(row(one.title, cells, report.missed.get(one.title, 0)))
    rows += [row(name, "----", missed) for name, missed in report.strangers.items()]
    if report.nobodys:
        rows.append(row("nobody known", "----", report.nobodys))
    last = max((one.last for one in held.owners if one.last is not None), default=None)
    total = row(
        cli.count(len(held.owners), "owner"),
        (f"{held.total('incoming'):,}", f"{held.total('outgoing'):,}", cli.amount(held.total("octets")), report.age(last)),
        report.log.missed() if report.log is not None else 0,
    )
    head = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in ["owner"] + names)
    return (
        f'<table class="owners" id="owners" role="table">\n<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{"".join(rows)}</tbody>\n<tfoot role="rowgroup">\n{total}</tfoot>\n</table>\n'
    )


def from_log(log, report):
    if not log.lines:
        return f'<p class="dim">It has no line of start_proxies of {said(report.period())}.</p>\n'
    parts = [f"<p>{stamp(log.first)} to {stamp(log.last)}: "]
    parts.append(said(", ".join(f"{name}: {number:,}" for name, number in log.events.items())) + ".</p>\n")
    if log.counters_at is not None:
        parts.append(f'<p class="dim">Counters since the start, at {stamp(log.counters_at)}:</p>\n<ul class="list" id="counters">\n')
        for name, counters in log.counters.items():
            shown = ", ".join(f"{key} {value:,}" for key, value in counters.items())
            parts.append(f'<li><p class="head"><span>{said(name or "all")}</span><span>{said(shown)}</span></p></li>\n')
        parts.append("</ul>\n")
    return "".join(parts)
