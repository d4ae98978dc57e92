"""Things to read and to call: a small service of real tools, and how to register your own."""
