"""One module a library, importable only in the environment that has it. engine/worker.py says what each offers."""
