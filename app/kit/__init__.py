"""What every room needs and none owns: settings, logging, database, bus, clock, secrets, health, errors."""
