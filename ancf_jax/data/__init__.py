"""The data's way in: file or named data set -> clean -> vocabularies -> split -> int32 arrays."""
