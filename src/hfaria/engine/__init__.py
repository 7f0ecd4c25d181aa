"""The engine room: aria2c as a daemon, its RPC, and the partials it leaves behind."""
