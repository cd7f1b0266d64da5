"""The `go2cloud` command, one module per noun."""
