"""What `mirrorlab` can be told to do: a module a subject. `emulator.cli` lists them."""
