"""What `perdure bench` does: writes records, follows them, reads all of them again, and checks every one."""
