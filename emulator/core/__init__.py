"""What a device decides. Pure: events in, commands out; time is an argument."""
