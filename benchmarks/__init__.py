"""Measurements of MeshHook beside its peers: ``python -m benchmarks``, or ``make bench``.

settings    what a run is told
target      where it measures, and how it leaves nothing behind
processes   each measured thing in a process of its own
statistics  medians, spreads, orders
peers/      one module for each queue that is measured
scenarios/  one module for each question
report      JSON and Markdown
plots       pictures
"""
