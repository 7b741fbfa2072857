"""From a user's files to tables that the engine can read: which file is what, in which encoding and dialect."""
