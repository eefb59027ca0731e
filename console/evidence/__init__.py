"""Evidence: what people and auditors are shown of the registry, with pictures from the engine.

It only reads. Commands and the console share it; with them it is all that joins ``registry``
and ``uvr``.
"""
