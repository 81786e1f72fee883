"""The style of a rendered report: readable on a screen in a dark room, and on paper."""

REPORT_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { color: #fff; padding: .7rem 1rem; border-radius: .4rem; font-size: 1.5rem; line-height: 1.25;
     print-color-adjust: exact; -webkit-print-color-adjust: exact; }
h2, h3, h4, h5, h6 { margin: 1rem 0 .3rem; font-size: 1.05rem; }
.disclaimer { border: 2px solid #b3261e; border-radius: .4rem; padding: .4rem 1rem; font-weight: 700; }
.conclusion { font-size: 1.1rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
th { text-align: left; font-weight: 600; padding: .15rem 1rem .15rem 0; white-space: nowrap; width: 1%; }
td, .item, code { overflow-wrap: anywhere; }
section { border-left: 2px solid #8886; padding-left: 1rem; margin: .5rem 0; }
.item { margin: .15rem 0; }
.item .item { margin-left: 1rem; }
.item > b { font-weight: 600; }
.item > b::after { content: ":"; }
small, code { color: #6b7280; font-size: .85em; }
@media print { body { max-width: none; margin: 0; } section, tr, .item { break-inside: avoid; } }
"""
