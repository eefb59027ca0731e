"""The pages, one module a noun: library calls, and a template that shows what they answer."""
