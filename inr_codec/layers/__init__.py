"""The layers of FORMAT.md, a folder or a module for each; `table` lists them."""
