"""A playbook: everything one business declares, as reviewed files. Pure: no engine, clock or network."""
