"""Hostile inputs, row by row, through a real worker, and what became of each.

    python -m tests.hostile                 the two lists of this folder
    python -m tests.hostile --csv FILE      any other list of the same columns (kind,input,expected,why)

Every row that a check, an alert or a job can bring goes through one `sentinel-worker run` process under
its production policy, on a real Redis, with real servers: all rows at once. Then the worker must still
answer, do a good check and end well. What a person would write is also held against `rules import`. A row
that has no surface here is counted as not run, with the reason.

    rows        one row of a list, and what its input spells
    internet    the process: the real command line on an internet that lies on loopback
    stage       a Redis, a database, sites and that process; what the rows bring and what came of it
    kinds       kind of row -> who runs it (addresses, answers, pages, words, jobs, endpoint, webhooks)
    handling    the engine alone: handlers that loop, exit and raise what no handler should
"""
