"""Messages as SQL: facts formatted, wordings chosen, texts linted, a whole column at a time."""
