"""What the passed tests prove: collected while they run, kept a file a row, held against the code it was made from."""
