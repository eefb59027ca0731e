"""The console: a registry's decisions in the browser, made by the same calls as the commands'.

1. ``guard`` refuses what does not come from a page of the console, before anything is read.
2. ``identity`` says which actor a request is by; ``session`` ties each form to one browser.
3. A page in ``console.pages`` makes library calls and renders a template.
4. Whatever the library refuses becomes a page with a way on.

No rule of the registry is written here: roles, approvals, signatures and the trail are the
library's.
"""
