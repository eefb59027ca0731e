"""The commands of ``uvr-registry``, one module a noun: parse, one library call, print.

Importing a module loads click alone; a command imports what it needs when it runs.
"""
