"""The data path, in the order of the alphabet: accept, collect, convert, decide, execute."""
