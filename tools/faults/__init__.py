"""`make faults` and `make soak`: break every part while the platform works, then check the books.

oracle     the tool and the receiver of webhooks, a process of its own; nothing under test writes what it saw
load       clients at work, and the history of what they were told
world      the platform as real processes, and every way to break one of them
memory     what clients were told, kept over time
charges    what an invocation must cost
tight      a budget for exactly so many calls, spent during every fault
strikes    faults that strike in a moment, one or two at random
skewed     the web room on a host whose clock is wrong
proxy      a network that freezes, swallows and loses answers
checks     the invariants, from outside and from inside
laws       the invariants as queries
rows       the matrix: one function per fault
shown      rows of the matrix that the test suite shows, by the names of their tests
report     docs/faults.md and its picture
soak       the same load with random faults, by minutes or by invocations
"""
