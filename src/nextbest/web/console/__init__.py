"""The console: pages for people over the same services as the API, one page a file. Needs the extra `console`."""
